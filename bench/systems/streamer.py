"""Streamer itself, as its users run it: ``streamer run module:app`` in a process of its own."""

from __future__ import annotations

import sys

from bench.systems import System

APPLICATIONS = {
    "fold": "fold function",
    "built_in": "built-in aggregates",
    "every": "result for every event",
}


def _command(application: str) -> list[str]:
    target = f"bench.systems.streamer_application:{application}"
    return [sys.executable, "-m", "streamer.cli.main", "run", target]


def row(application: str, commit_ms: int) -> System:
    command = _command(application)
    return System(
        name=f"Streamer, {APPLICATIONS[application]}",
        commit_ms=commit_ms,
        command=lambda _: command,
    )


SYSTEMS = tuple(row(name, commit_ms) for name in APPLICATIONS for commit_ms in (1_000, 100))
