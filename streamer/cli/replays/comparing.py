"""`streamer replay diff`: how what was computed differs from the live state."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, Any

from streamer.cli.operations import executing
from streamer.cli.options import Commands, add_command, application
from streamer.cli.output import print_json, print_table
from streamer.cli.replays.choosing import chosen
from streamer.cli.rows import text
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.cli.replays.rows import RowsShown
    from streamer.control.operations import OperationRecord
    from streamer.operations.replay.compare import Differences

__all__ = ["add"]

_COLUMNS = ("store", "same", "added", "changed", "gone", "moving")
_DETAILS = """\
Both states are read back to a temporary file, while both applications go on; nothing is changed.
Values are read by the code that --app MODULE:APP names, else as JSON where they look like it. The
exit code is 1 where anything differs.
"""


def add(verbs: Commands) -> argparse.ArgumentParser:
    diff = add_command(
        verbs,
        "diff",
        "show how what was computed differs from the live state",
        details=_DETAILS,
        execute=_diff,
    )
    diff.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=3_600.0, help="(default: 3600)"
    )
    return diff


def _diff(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        record = chosen(arguments.id, executor.books())
    from streamer.cli.replays.rows import RowsShown
    from streamer.feed.ports import KafkaPorts
    from streamer.operations.repartition.request import read_request
    from streamer.operations.replay.compare import compare

    ports = KafkaPorts(application(arguments), stopping=threading.Event())
    _check(record)
    asked, rows = read_request(record.request), RowsShown(arguments)
    found = list(compare(ports, asked, timeout_s=arguments.timeout, value=rows.value))
    if arguments.json:
        print_json([_differing(one, rows) for one in found])
    else:
        print_table([_counted(one) for one in found], _COLUMNS)
        for one in found:
            _print_differing(one, rows)
    return 0 if all(one.is_equal for one in found) else 1


def _check(record: OperationRecord) -> None:
    from streamer.operations.replay.steps import is_over, may_read

    if is_over(record) or not may_read(record):
        when = "over" if is_over(record) else "not begun"
        raise OperationRefusedError(
            f"there is nothing to compare: replay {record.id} is {when}",
            hint="before the switch it is compared once `streamer replay apply` has begun",
        )


def _counted(one: Differences) -> dict[str, Any]:
    return {name: getattr(one, name) for name in _COLUMNS}


def _differing(one: Differences, rows: RowsShown) -> dict[str, Any]:
    return _counted(one) | {
        "unknown": one.unknown,
        "sums": {field: {"live": a, "again": b} for field, (a, b) in one.sums.items()},
        "samples": {
            kind: [rows.sample(one.store, each) for each in some]
            for kind, some in one.samples.items()
        },
    }


def _print_differing(one: Differences, rows: RowsShown) -> None:
    if one.unknown:
        print(f"{one.store} is not compared: {one.unknown}")
    for field, (live, again) in one.sums.items():
        print(f"{one.store}, sum of {field or 'values'}: {live:,} live, {again:,} again")
    for kind, some in one.samples.items():
        for each in some:
            shown = rows.sample(one.store, each)
            key, before, after = (text(shown[name]) for name in ("key", "live", "again"))
            print(f"{one.store}, {kind}: {key}: {before} -> {after}")
