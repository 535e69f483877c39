"""Gives a measured process a core to itself (Linux).

Where the broker's threads and the worker's share cores, each throws the other out of the cores' own
caches, and now and then off its core. What an event costs then depends on how busy the broker is at
that moment: the same run was measured at 3.5 and at 5.0 CPU s per million.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import family


@contextmanager
def apart(wanted: bool) -> Iterator[int | None]:
    """While the block runs, this process and all that it started keep off one core, whose number
    is given; None where that is not wanted, or there is no second core."""
    cores = sorted(os.sched_getaffinity(0))
    if not wanted or len(cores) < 2:
        yield None
        return
    _keep_to(cores[1:])
    try:
        yield cores[0]
    finally:
        _keep_to(cores)


def _keep_to(cores: list[int]) -> None:
    for process in family(os.getpid()):
        for thread in Path(f"/proc/{process}/task").glob("*"):
            # One that has just ended.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)
