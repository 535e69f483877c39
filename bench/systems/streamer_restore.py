"""Streamer with an empty state directory and a full changelog; its log tells how far it is."""

from __future__ import annotations

import re
import sys

from bench.systems import Case, System

_BEGUN = re.compile(r"task \S+: restoring \d+ offsets")
_DONE = re.compile(r"task \S+ runs: restored (\d+) records")
_COMMAND = [
    sys.executable,
    "-m",
    "streamer.cli.main",
    "run",
    "bench.systems.streamer_application:restored",
]


def told(log: str) -> int:
    """All records of the tasks that are restored; -1 while none has begun."""
    if not _BEGUN.search(log):
        return -1
    return sum(int(records) for records in _DONE.findall(log))


def _progress(case: Case) -> int:
    return told(SYSTEM.log(case).read_text(errors="replace"))


SYSTEM = System(name="Streamer", command=lambda _: _COMMAND, progress=_progress)
SYSTEMS = (SYSTEM,)
