"""What commands print: aligned tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["duration", "moment", "print_json", "print_table", "quiet_clients"]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """One line per row, one column per name; numbers stand right, an empty table says so."""
    if not rows:
        print("none")
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    for line in (heads, *cells):
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(padded).rstrip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def moment(time_ms: int) -> str:
    """A time for people, in UTC; a time beyond the calendar stays a number."""
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    except OverflowError:
        return str(time_ms)
    return at.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds")[:-6] + "Z"


def duration(duration_ms: int) -> str:
    """How long ago something was; negative when it never was."""
    if duration_ms < 0:
        return "never"
    for unit, unit_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if duration_ms >= 2 * unit_ms:
            return f"{duration_ms // unit_ms} {unit} ago"
    return f"{duration_ms / 1000:.1f} s ago"


def quiet_clients(arguments: argparse.Namespace) -> None:
    """Keep the Kafka client's own messages out of a command's output, but for --debug."""
    if not arguments.debug:
        logging.getLogger("streamer").setLevel(logging.CRITICAL)
