"""`streamer query`: read a store of a running application."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from streamer.cli.client import NoAnswerError, address_of, ask, path
from streamer.cli.options import Commands, add_application, add_command, add_json, application
from streamer.cli.output import moment, print_json, print_table, quiet_clients
from streamer.cli.ranges import gather
from streamer.errors import ConfigError

__all__ = ["add"]

_DETAILS = """\
With a key: its value, or its windows. Without: rows of many keys, in the order of the keys, or of
the times for windows. Only committed values are read. Any worker answers for any key; rows of many
keys are gathered from all workers. Where an owner does not answer, a copy does, and that is said.

  streamer query totals ann --app shop.stream:app
  streamer query hourly ann --from 2026-01-31T12:00Z --to 2026-01-31T18:00Z --url host:8080
  streamer query totals --prefix a --limit 20
"""
_LIMIT = 100


def add(commands: Commands) -> None:
    command = add_command(
        commands, "query", "read a store of a running application", details=_DETAILS, execute=_query
    )
    command.add_argument("store", metavar="STORE", help="name of the store")
    command.add_argument("key", metavar="KEY", nargs="?", help="key as text; JSON for other types")
    command.add_argument(
        "--from", metavar="TIME", dest="from_time", help="windows from this time on"
    )
    command.add_argument("--to", metavar="TIME", dest="to_time", help="windows before this time")
    command.add_argument("--prefix", metavar="TEXT", help="rows whose key begins with this")
    command.add_argument(
        "--range", metavar=("FIRST", "END"), nargs=2, help="rows from one key up to before another"
    )
    command.add_argument(
        "--limit", metavar="N", type=_count, help=f"rows at most (default: {_LIMIT})"
    )
    command.add_argument("--after", metavar="CURSOR", help="go on after an earlier page")
    for name in ("key", "value"):
        command.add_argument(
            f"--{name}-encoding",
            metavar="ENCODING",
            choices=("hex", "base64"),
            help=f"{name}s as stored bytes in hex or base64, not by their serde",
        )
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


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows, 1 or more")
    return number


def _lag(text: str) -> str:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of records, 0 or more")
    return text


def _query(arguments: argparse.Namespace) -> int:
    if arguments.key is not None and (arguments.prefix or arguments.range):
        raise ConfigError("a key and --prefix or --range were given", hint="leave one out")
    if arguments.prefix and arguments.range:
        raise ConfigError("--prefix and --range were given", hint="leave one out")
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
        print(_text(found["value"]))
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
    limit = arguments.limit or _LIMIT
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
    shown = {"key": _text(row["key"]), "value": _text(row["value"])}
    if "start_ms" in row:
        shown |= {"start": moment(row["start_ms"]), "end": moment(row["end_ms"])}
    return shown


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
