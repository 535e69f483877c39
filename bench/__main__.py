"""``python -m bench NAME``: runs one benchmark and prints a table, JSON lines or Markdown."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

from bench.measure import MeasureError
from bench.options import Options, UsageError
from bench.report import Row, combine, json_line, machine, markdown, table

NAMES = (
    "throughput",
    "restore",
    "bootstrap",
    "scale",
    "placement",
    "fleet",
    "failover",
    "trim",
    "snapshot",
    "split",
    "repartition",
    "replay",
)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    benchmark = importlib.import_module(f"bench.{given.name}")
    if given.list:
        print("\n".join(system.title for system in benchmark.SYSTEMS))
        return 0
    options = Options(
        runs=given.runs,
        events=given.events,
        customers=given.customers,
        partitions=given.partitions,
        only=tuple(given.only),
        bootstrap=given.bootstrap,
        state_mib=tuple(given.state_mib),
        rate=given.rate,
        folds=given.folds,
    )
    measured_on = machine()
    rows: list[Row] = []

    def emit(runs: list[Row]) -> None:
        rows.append(combine(runs, benchmark.COLUMNS))
        if given.json:
            print(json_line(rows[-1], benchmark.COLUMNS), flush=True)

    try:
        benchmark.run(options, emit)
    except (UsageError, MeasureError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if not given.json:
        show = markdown if given.markdown else table
        spread = f"least / median / greatest of {given.runs} runs in turns; " * (given.runs > 1)
        print(f"{benchmark.TITLE}: {spread}{measured_on}\n")
        print(show(rows, benchmark.COLUMNS))
        for line in getattr(benchmark, "remarks", _none)(rows):
            print(f"\n{line}")
    # None where there is no result to compare.
    return 1 if any(row.get("correct") is False for row in rows) else 0


def _none(_: list[Row]) -> list[str]:
    return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per line and row")
    form.add_argument("--markdown", action="store_true", help="a table for the documentation")
    form.add_argument("--list", action="store_true", help="only name the rows")
    parser.add_argument("--runs", type=int, default=1, help="runs per row, in turns (default 1)")
    parser.add_argument("--events", type=int, default=0, help="events, or changelog records")
    parser.add_argument("--customers", type=int, default=0, help="distinct keys")
    parser.add_argument("--partitions", type=int, default=0)
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="rows whose name holds the text"
    )
    parser.add_argument(
        "--state-mib", action="append", type=int, default=[], metavar="MIB", help="size of a state"
    )
    parser.add_argument("--rate", type=int, default=0, help="events a second, all the time")
    parser.add_argument("--folds", type=int, default=0, help="how often it goes there or back")
    parser.add_argument("--bootstrap", help="a running Kafka; the default is one of its own")
    return parser


if __name__ == "__main__":
    # An exception, so that processes and topics are cleared away on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
