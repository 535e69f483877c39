"""`streamer query`: read a store of a running application."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from streamer.cli.client import NoAnswerError, address_of, ask, path
from streamer.cli.options import Commands, add_application, add_command, add_json, application
from streamer.cli.output import print_json, print_table, quiet_clients
from streamer.cli.ranges import gather
from streamer.cli.rows import LIMIT, add_rows, check_keys, number, text, timed

__all__ = ["add"]

_DETAILS = """\
With a key: its value, or its windows. Without: rows of many keys, in the order of the keys, or of
the times for windows. Only committed values are read. Any worker answers for any key; rows of many
keys are gathered from all workers. Where an owner does not answer, a copy does, and that is said.

  streamer query totals ann --app shop.stream:app
  streamer query hourly ann --from 2026-01-31T12:00Z --to 2026-01-31T18:00Z --url host:8080
  streamer query totals --prefix a --limit 20
"""


def add(commands: Commands) -> None:
    command = add_command(
        commands, "query", "read a store of a running application", details=_DETAILS, execute=_query
    )
    add_rows(command)
    command.add_argument(
        "--limit", metavar="N", type=number(1), help=f"rows at most (default: {LIMIT})"
    )
    command.add_argument("--after", metavar="CURSOR", help="go on after an earlier page")
    command.add_argument(
        "--max-lag",
        metavar="N",
        type=_lag,
        help="a copy that lacks at most N records may answer, whether or not the owner can;"
        " 0: the owner alone (default: a copy only where the owner cannot)",
    )
    command.add_argument("--url", metavar="URL", help="a worker to ask, instead of --app")
    add_application(command)
    add_json(command)


def _lag(text: str) -> str:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of records, 0 or more")
    return text


def _query(arguments: argparse.Namespace) -> int:
    check_keys(arguments)
    addresses = _addresses(arguments)
    if arguments.key is None:
        return _many(arguments, addresses)
    found = _one(arguments, addresses)
    if "rows" in found:
        standbys = {found["task"]: found["lag_records"]} if "role" in found else {}
        return _print_rows(found, arguments, standbys)
    if arguments.json:
        print_json(found)
    else:
        print(text(found["value"]))
        if "role" in found:
            print(f"({_distance(found['lag_records'])})", file=sys.stderr)
    return 0


def _one(arguments: argparse.Namespace, addresses: list[str]) -> dict[str, Any]:
    """The answer for one key: of the first worker that can be reached, which is any."""
    target = path("stores", arguments.store, arguments.key)
    for address in addresses[:-1]:
        try:
            found: dict[str, Any] = ask(address, target, _parameters(arguments))
            return found
        except NoAnswerError as error:
            if error.status is not None:
                raise
    found = ask(addresses[-1], target, _parameters(arguments))
    return found


def _addresses(arguments: argparse.Namespace) -> list[str]:
    """Workers to ask; the first for one key, all for many."""
    if arguments.url:
        return [address_of(arguments.url)]
    config = application(arguments)
    from streamer.control.client import Control

    quiet_clients(arguments)
    with Control(config) as control:
        addresses = [each.address for each in control.workers() if each.is_alive and each.address]
    if not addresses:
        raise NoAnswerError(
            f"no worker of {config.application_id!r} lives and serves HTTP",
            hint="`streamer show workers` tells more; http_port=-1 turns HTTP off",
        )
    return addresses


def _parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    first, end = arguments.range or (None, None)
    return {
        "from": arguments.from_time,
        "to": arguments.to_time,
        "prefix": arguments.prefix,
        "start": first,
        "end": end,
        "limit": arguments.limit,
        "after": arguments.after,
        "max_lag": arguments.max_lag,
        "key_encoding": arguments.key_encoding,
        "value_encoding": arguments.value_encoding,
    }


def _many(arguments: argparse.Namespace, addresses: list[str]) -> int:
    limit = arguments.limit or LIMIT
    found = gather(addresses, path("stores", arguments.store), _parameters(arguments), limit=limit)
    return _print_rows(found, arguments, found.get("standbys", {}))


def _print_rows(
    found: dict[str, Any], arguments: argparse.Namespace, standbys: dict[str, int]
) -> int:
    missing = found.get("missing", [])
    if arguments.json:
        print_json(found)
    else:
        has_times = any("start_ms" in row for row in found["rows"])
        columns = ("key", "start", "end", "value") if has_times else ("key", "value")
        print_table([_row(row) for row in found["rows"]], columns)
        if found.get("next"):
            print(f"more: --after {found['next']}", file=sys.stderr)
        for name, lag in standbys.items():
            print(f"task {name}: ({_distance(lag)})", file=sys.stderr)
    for message in found.get("silent", {}).values() if missing else ():
        print(f"streamer: {message}", file=sys.stderr)
    for task in missing:
        owner = task.get("owner") or "nobody is known to run it"
        print(f"streamer: task {task['task']} is not included: {owner}", file=sys.stderr)
    return 1 if missing else 0


def _distance(lag_records: int) -> str:
    return f"standby, {lag_records:,} records behind"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {"key": text(row["key"]), "value": text(row["value"]), **timed(row)}
