"""`python -m demo [--keep] [--copies N] [--per-second N]`. Exit code 1 if anything was wrong."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

from confluent_kafka import KafkaException

from demo.airflow.rest import ApiError
from demo.cdnow import CUSTOMERS, PURCHASES
from demo.moving import MoveError
from demo.scenario import DemoError, Options, Scenario, Summary
from demo.screen import Screen, screen_for
from demo.verdict import Verdict
from streamer.errors import StreamerError

_INTERRUPTED = 130


def main() -> int:
    arguments = _parser().parse_args()
    # Both end alike: everything is stopped and removed. (A shell's background job ignores SIGINT.)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    options = Options(
        copies=arguments.copies,
        per_second=arguments.per_second,
        conducts=not arguments.without_airflow,
    )
    screen = screen_for()
    try:
        return _play(options, screen, keep=arguments.keep)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (
        DemoError,
        MoveError,
        ApiError,
        KafkaException,
        OSError,
        ValueError,
        StreamerError,
    ) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="Two workers, one of them killed; every result checked."
    )
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    parser.add_argument(
        "--without-airflow",
        action="store_true",
        help="no snapshots and no trim, and tasks moved by commands",
    )
    parser.add_argument(
        "--copies",
        type=_count,
        default=Options.copies,
        metavar="N",
        help=f"N times the {PURCHASES:,} purchases and {CUSTOMERS:,} customers (default: 5)",
    )
    parser.add_argument(
        "--per-second",
        type=_count,
        default=Options.per_second,
        metavar="N",
        help="purchases written per second after the backlog (default: 12000)",
    )
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 1 or more")
    return int(text)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _play(options: Options, screen: Screen, *, keep: bool) -> int:
    with Scenario(options, screen) as scenario:
        scenario.start()
        scenario.run_two_workers()
        scenario.kill_one()
        scenario.replace_it()
        scenario.catch_up()
        verdict = scenario.compare()
        scenario.maintain()
        scenario.repartition()
        again = scenario.compare()
        verdict.wrong += again.wrong
        if keep:
            screen.close()
            _print(scenario.summary, verdict, again)
            _keep(scenario)
    if not keep:
        _print(scenario.summary, verdict, again)
    failed = any(run.state != "success" for run in scenario.summary.conducted)
    return 1 if verdict.wrong or failed else 0


def _print(summary: Summary, verdict: Verdict, again: Verdict) -> None:
    rows = {
        "events": f"{summary.events:,}",
        "seconds": f"{summary.seconds:.1f}",
        "events per second": f"{summary.per_second:,.0f} on average,"
        f" {summary.fastest_per_second:,} at most",
        "takeover": f"{summary.takeover_s:.1f} s from the kill until all its tasks went on",
        "processed twice": f"{summary.processed_twice:,} records, and counted once",
        "compared": f"{verdict.profiles:,} profiles, {verdict.spending:,} windows,"
        f" {verdict.results:,} results in Kafka",
        "verdict": "DIFFERENT" if verdict.wrong else "equal, every one of them",
    }
    for run in summary.conducted:
        rows[run.dag] = f"{run.state}, {run.seconds:.0f} s"
    moved = ", then ".join(f"{tasks} tasks after {s:.0f} s" for tasks, s in summary.moved)
    rows["repartitioned"] = f"{moved}, under {summary.traffic:,} more purchases"
    rows["compared again"] = (
        f"{again.profiles:,} profiles, {again.spending:,} windows, {again.results:,} results"
    )
    print()
    for name, value in rows.items():
        print(f"  {name:<18} {value}")
    for line in verdict.wrong:
        print(f"  {line}")
    print(flush=True)


def _keep(scenario: Scenario) -> None:
    for name, address in scenario.addresses.items():
        print(f"  {name:<18} {address}")
    first = next(address for address in scenario.addresses.values() if "//" in address)
    print(f"\n  curl {first}/stores/profiles/14048\n\nCtrl-C stops everything.", flush=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
