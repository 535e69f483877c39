"""Kafka Streams 4.3.1 that starts with an empty directory and a full changelog."""

from __future__ import annotations

from bench.java import classes, java_command
from bench.systems import System


def _prepare() -> None:
    classes()


def _row(threads: int) -> System:
    return System(
        name=f"Kafka Streams 4.3.1, {threads} thread{'s' * (threads > 1)}",
        command=lambda _: java_command("Restore"),
        prepare=_prepare,
        settings={"BENCH_THREADS": str(threads)},
    )


SYSTEMS = (_row(1), _row(2))
