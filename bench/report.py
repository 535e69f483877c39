"""Rows of several runs become one row each, and rows become a table, Markdown or JSON lines.

A number is the median of the runs; of several runs the least and the greatest stand beside it.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Value = object
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Column:
    """A key of a row and its heading; a ``spread`` shows least, median and greatest."""

    key: str
    title: str
    form: str = ""
    spread: bool = False


def combine(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, Value]:
    """One row of all runs of a system; a run that failed has an ``error`` and gives no numbers."""
    good = [row for row in rows if "error" not in row]
    combined: dict[str, Value] = {**rows[-1], **(good[-1] if good else {}), "runs": len(good)}
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for column in columns:
        numbers = [row[column.key] for row in good if _is_number(row.get(column.key))]
        if column.spread and numbers:
            values = sorted(float(str(number)) for number in numbers)
            combined[column.key] = statistics.median(values)
            low[column.key], high[column.key] = values[0], values[-1]
    if len(good) > 1:
        combined |= {"min": low, "max": high}
    verdicts = [row["correct"] for row in good if row.get("correct") is not None]
    if len(good) < len(rows):
        combined["correct"] = False
        combined["error"] = next(row["error"] for row in rows if "error" in row)
    elif verdicts:
        combined["correct"] = all(verdicts)
    return combined


def json_line(row: Row, columns: Sequence[Column]) -> str:
    """The columns first and in their order, then what else the row has."""
    ordered = {column.key: row.get(column.key) for column in columns}
    return json.dumps({k: _rounded(v) for k, v in {**ordered, **row}.items()})


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    cells = [[column.title for column in columns]]
    cells += [[cell(row, column) for column in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = []
    for line in cells:
        padded = [
            text.rjust(width) if column.form else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    lines = [
        "| " + " | ".join(column.title for column in columns) + " |",
        "|" + "|".join("---:" if column.form else "---" for column in columns) + "|",
    ]
    lines += ["| " + " | ".join(cell(row, column) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(row: Row, column: Column) -> str:
    """One value as text: `least / median / greatest` where there were several runs."""
    value = row.get(column.key)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if not _is_number(value):
        return str(value)
    low, high = row.get("min"), row.get("max")
    numbers = [value]
    if isinstance(low, Mapping) and isinstance(high, Mapping) and column.key in low:
        numbers = [low[column.key], value, high[column.key]]
    return " / ".join(format(number, column.form) for number in numbers)


def machine() -> str:
    """One line on what the figures were taken on."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({model}), load {load:.1f} at the start"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rounded(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, 3) if isinstance(value, float) else value
