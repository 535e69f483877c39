"""Which rows of a store a command is asked for, and how they look."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from streamer.cli.output import moment
from streamer.errors import ConfigError

__all__ = ["LIMIT", "add_rows", "check_keys", "number", "text", "time_of", "timed"]

LIMIT = 100


def add_rows(command: argparse.ArgumentParser, *, store: str | None = None) -> None:
    """KEY, its alternatives, and how keys and values are written. `store` is "?" where the command
    does something else without one."""
    command.add_argument("store", metavar="STORE", nargs=store, help="name of the store")
    command.add_argument("key", metavar="KEY", nargs="?", help="key as text; JSON for other types")
    command.add_argument(
        "--from", metavar="TIME", dest="from_time", help="windows from this time on"
    )
    command.add_argument("--to", metavar="TIME", dest="to_time", help="windows before this time")
    command.add_argument("--prefix", metavar="TEXT", help="rows whose key begins with this")
    command.add_argument(
        "--range", metavar=("FIRST", "END"), nargs=2, help="rows from one key up to before another"
    )
    for name in ("key", "value"):
        command.add_argument(
            f"--{name}-encoding",
            metavar="ENCODING",
            choices=("hex", "base64"),
            help=f"{name}s as stored bytes in hex or base64, not by their serde",
        )


def number(least: int) -> Callable[[str], int]:
    """What takes a number of rows from a command line."""

    def parse(given: str) -> int:
        if given.isascii() and given.isdecimal() and int(given) >= least:
            return int(given)
        raise argparse.ArgumentTypeError(f"{given!r} is not a number of rows, {least} or more")

    return parse


def check_keys(arguments: argparse.Namespace) -> None:
    """Raises ConfigError where rows are asked for in two ways."""
    ways = {"a key": arguments.key is not None}
    ways |= {"--prefix": bool(arguments.prefix), "--range": bool(arguments.range)}
    if len(given := [way for way, is_given in ways.items() if is_given]) > 1:
        raise ConfigError(f"{' and '.join(given)} were given", hint="leave all but one out")


def time_of(given: str, option: str) -> int:
    """Milliseconds since 1970. Raises ConfigError."""
    from streamer.http.answers import QueryError
    from streamer.http.requests import time_ms

    try:
        return time_ms(given, option)
    except QueryError as error:
        raise ConfigError(error.message, hint=error.hint) from None


def timed(row: dict[str, Any]) -> dict[str, str]:
    """The times of a window or a session, for people; the end of one may not be known."""
    return {
        name: "" if (at := row[f"{name}_ms"]) is None else moment(at)
        for name in ("start", "end")
        if f"{name}_ms" in row
    }


def text(value: Any) -> str:
    """A key or a value in a table."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
