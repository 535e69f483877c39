"""`streamer inspect`: the rows of a state that lies in a directory, without a cluster."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli.options import APP_VARIABLE, Commands, add_application, add_command, add_json
from streamer.cli.output import moment, print_json, print_table
from streamer.cli.progress import Counter
from streamer.cli.rows import LIMIT, add_rows, check_keys, number, text, time_of, timed
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.cli.shown import Decoded
    from streamer.restore.at_rest import AtRest
    from streamer.store.selection import Selected, Selection

__all__ = ["add"]

_DETAILS = """\
DIR is what `streamer snapshot restore --to DIR` has filled, or the directory of a task of a worker
that does not run. Nothing in it is changed. Without STORE: which stores there are. With it: its
rows, in the order of keys, or of times for windows, task by task; also those that are past their
ttl or retention and were not removed yet.

Without an application keys and values are shown as text or JSON where they are that, else in hex.

  streamer inspect /tmp/then
  streamer inspect /tmp/then totals ann --app shop.stream:app
  streamer inspect /tmp/then hourly --from 2026-01-31T10:00Z --to 2026-01-31T12:00Z --limit 20
"""
_STORES = ("task", "store", "kind", "rows", "snapshot", "created")


def add(commands: Commands) -> None:
    command = add_command(
        commands, "inspect", "look at a state in a directory", details=_DETAILS, execute=_inspect
    )
    command.add_argument("directory", metavar="DIR", type=Path, help="where the state is")
    add_rows(command, store="?")
    command.add_argument(
        "--limit",
        metavar="N",
        type=number(0),
        default=LIMIT,
        help=f"rows at most, 0 for all (default: {LIMIT})",
    )
    add_application(command)
    add_json(command)


def _inspect(arguments: argparse.Namespace) -> int:
    from streamer.restore.at_rest import at_rest

    found = at_rest(arguments.directory)
    if arguments.store is None:
        return _stores(found, arguments)
    decoded = _decoded(arguments)
    wanted = _wanted(arguments, decoded)
    rows = _rows(found, arguments.store, wanted, decoded)
    limit = arguments.limit
    shown = list(islice(rows, limit + 1) if limit > 0 else rows)
    if is_more := 0 < limit < len(shown):
        shown.pop()
    if arguments.json:
        print_json(shown)
    else:
        has_times = any("start_ms" in row for row in shown)
        columns = ("task", "key", *(("start", "end") if has_times else ()), "time", "value")
        print_table([_short(row) for row in shown], columns)
    if is_more:
        print(f"more rows follow: --limit {limit * 10}, or 0 for all", file=sys.stderr)
    return 0


# -- the stores --------------------------------------------------------------------------------


def _stores(found: list[AtRest], arguments: argparse.Namespace) -> int:
    from streamer.store.reading import read_all

    rows: list[dict[str, Any]] = []
    with Counter(sys.stderr) as counter:
        for one in counter.each(found, "tasks read"):
            contents = read_all(one.directory)
            kinds = _kinds(one)
            rows += [_store(one, name, kinds.get(name, ""), n) for name, n in contents.rows.items()]
    if arguments.json:
        print_json(rows)
    else:
        print_table([{**row, "snapshot": row["snapshot"][:12]} for row in rows], _STORES)
    return 0


def _kinds(one: AtRest) -> dict[str, str]:
    from streamer.store.reading import StoredDatabase

    with StoredDatabase(one.directory) as database:
        return {store: kind.value for store, (kind, _) in database.kinds.items()}


def _store(one: AtRest, name: str, kind: str, rows: int) -> dict[str, Any]:
    from streamer.ids import Layout, TaskId, changelog_topic

    row: dict[str, Any] = {"task": one.task, "store": name, "kind": kind, "rows": rows}
    origin = one.origin
    if origin is None:
        return {**row, "snapshot": "", "created": ""}
    topic = changelog_topic(origin.application, name, Layout(origin.layout))
    place = topic, TaskId.parse(origin.task).partition
    at = {(each.topic, each.partition): each.position for each in origin.changelog}
    return {
        **row,
        "snapshot": origin.id,
        "created": moment(origin.created_ms),
        "created_ms": origin.created_ms,
        "changelog_position": at.get(place),
        "input": {f"{each.topic}/{each.partition}": each.position for each in origin.input},
    }


# -- its rows ----------------------------------------------------------------------------------


def _decoded(arguments: argparse.Namespace) -> Decoded:
    from streamer.cli.shown import by_app, by_looks

    encodings = {"key": arguments.key_encoding or "", "value": arguments.value_encoding or ""}
    name = arguments.app or os.environ.get(APP_VARIABLE, "")
    if ":" not in name:
        return by_looks(**encodings)
    from streamer.cli.options import resolved
    from streamer.cli.target import load_app

    app = load_app(name)
    registry = resolved(app, arguments).config.schema_registry
    return by_app(app.topology(), registry, arguments.store, **encodings)


def _wanted(arguments: argparse.Namespace, decoded: Decoded) -> Selection:
    from streamer.store.selection import Selection

    check_keys(arguments)
    first, end = arguments.range or (None, None)
    return Selection(
        key=None if arguments.key is None else decoded.key_bytes(arguments.key),
        prefix=decoded.prefix_bytes(arguments.prefix) if arguments.prefix else b"",
        first=decoded.key_bytes(first) if first is not None else b"",
        end=decoded.key_bytes(end) if end is not None else None,
        from_ms=time_of(arguments.from_time, "--from") if arguments.from_time else 0,
        to_ms=time_of(arguments.to_time, "--to") if arguments.to_time else None,
    )


def _rows(
    found: list[AtRest], store: str, wanted: Selection, decoded: Decoded
) -> Iterator[dict[str, Any]]:
    from streamer.store.reading import StoredDatabase
    from streamer.store.selection import select

    names: set[str] = set()
    for one in found:
        with StoredDatabase(one.directory) as database:
            names |= database.kinds.keys()
            if store in database.kinds:
                decoded.check_kind(database.kinds[store][0])
                for row in select(database, store, wanted):
                    yield _row(one, row, decoded)
    if store not in names:
        raise OperationRefusedError(
            f"there is no store {store!r}",
            hint=f"those that are there: {', '.join(sorted(names)) or 'none'}",
        )


def _row(one: AtRest, row: Selected, decoded: Decoded) -> dict[str, Any]:
    shown: dict[str, Any] = {"task": one.task, "key": decoded.key(row.key)}
    if row.start_ms is not None:
        shown |= {"start_ms": row.start_ms, "end_ms": decoded.end_ms(row.start_ms, row.end_ms)}
    return {**shown, "timestamp_ms": row.timestamp_ms, "value": decoded.value(row.value)}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    shown = {"key": text(row["key"]), "value": text(row["value"]), **timed(row)}
    return {"task": row["task"], "time": moment(row["timestamp_ms"]), **shown}
