"""Kafka Streams 4.3.1, plain DSL with Jackson, one stream thread, all defaults of its own.

The cache is that of its stores (10 MiB by default): it holds back results until a commit.
"""

from __future__ import annotations

from bench.java import classes, java_command
from bench.systems import Case, System


def _prepare() -> None:
    classes()


def _command(case: Case) -> list[str]:
    return java_command("Throughput")


def _row(name: str, cache: str, commit_ms: int) -> System:
    return System(
        name=f"Kafka Streams 4.3.1, {name}",
        commit_ms=commit_ms,
        command=_command,
        prepare=_prepare,
        settings={"BENCH_CACHE": cache},
    )


SYSTEMS = (
    _row("cache", "on", 1_000),
    _row("cache", "on", 100),
    _row("no cache", "off", 1_000),
    _row("no cache", "off", 100),
)
