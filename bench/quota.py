"""Holds each measured process to a share of a core, through control groups (Linux).

On a small machine the broker and two processes want more cores than there are; the quota leaves
room, and so shows whether the processes themselves stand in each other's way. It takes the right to
make a control group, which a superuser has and most others have not.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Short, so that a process is slowed down rather than stopped and let go.
PERIOD_US = 10_000


class QuotaError(Exception):
    """This machine or user cannot set quotas; the message says what was tried."""


class Quota:
    """Groups of at most ``cores`` each, one for every process, removed by ``close``."""

    def __init__(self, cores: float, *, root: Path = ROOT) -> None:
        self._quota_us = round(cores * PERIOD_US)
        self._root = root
        self._groups: list[Path] = []

    def admit(self, pid: int) -> None:
        """Puts a process, and all that it starts from now on, into a group of its own.

        Raises QuotaError.
        """
        unified = (self._root / "cgroup.controllers").exists()
        group = (self._root if unified else self._root / "cpu") / f"bench-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
            self._groups.append(group)
            if unified:
                (group / "cpu.max").write_text(f"{self._quota_us} {PERIOD_US}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(self._quota_us))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise QuotaError(f"no CPU quota through {group}: {error}") from error

    def close(self) -> None:
        """Removes the groups; those of processes that still live stay."""
        while self._groups:
            with contextlib.suppress(OSError):
                self._groups.pop().rmdir()


@contextmanager
def quota(cores: float | None) -> Iterator[Quota | None]:
    """The quota while the block runs; None without one."""
    if cores is None:
        yield None
        return
    limit = Quota(cores)
    try:
        yield limit
    finally:
        limit.close()


def check() -> None:
    """Raises QuotaError where quotas cannot be set, before anything is measured."""
    with quota(1.0) as limit:
        child = os.posix_spawn("/bin/true", ["true"], {})
        try:
            if limit is not None:
                limit.admit(child)
        finally:
            os.waitpid(child, 0)
