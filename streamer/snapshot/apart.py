"""Making a snapshot in a process of its own, which stands behind all others of the machine.

To hash and send a state takes seconds of a processor. A thread would take them from processing: it
asks for the interpreter several times for each chunk, and each time processing stops for it. A low
priority would make that worse, since who holds the interpreter and does not get on keeps it. A
process has its own, and its priority counts against everything: it takes what is left over.

It ends with the thread that waits for it, however that ends, and leaves what a worker that was
killed leaves. How fast it may go is asked of this process, which has one limit for all it moves.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socketpair
from typing import Any, NamedTuple

from streamer.config import Config
from streamer.errors import SnapshotError, StreamerError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.launch import launched
from streamer.snapshot.create import About, Created
from streamer.snapshot.pace import Pace
from streamer.snapshot.transfer import Progress, Report

__all__ = ["Job", "Make", "Said", "Take", "make_apart"]

# How soon it is noticed that nobody wants the snapshot any more.
_LOOK_S = 0.1
# To withdraw what was announced; a repository that is away is not waited for.
_GRACE_S = 3.0
_NICE_MAX = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A checkpoint, and where its snapshot belongs. `address` is empty for the repository that is
    set; `is_fit` says that the place was tried before. `cpu_percent` is of one core's time."""

    config: Config
    address: str
    task: TaskId
    directory: Path
    digests: Path
    about: About
    is_fit: bool = False
    is_limited: bool = False
    cpu_percent: int = 100
    layout: Layout = FIRST_LAYOUT
    log_level: int = logging.WARNING


class Take(NamedTuple):
    """So many bytes are to move: an answer is waited for."""

    size: int


class Said(NamedTuple):
    """A line for the log."""

    logger: str
    level: int
    text: str


Make = Callable[[Job, Pace, Report], Created]
"""Makes the snapshot of a job. The report is called now and then, also where nothing moves, and may
raise to end it. Raises RepositoryError and SnapshotError."""


def make_apart(job: Job, pace: Pace, report: Report) -> Created:
    """`Make` in another process."""
    process, line = _started(job.config.snapshot_niceness)
    try:
        line.send(job)
        return _heard(line, pace, report)
    except (EOFError, OSError) as error:
        code = _ended(process, line)
        how = f"signal {-code}" if code < 0 else f"code {code}"
        raise SnapshotError(
            f"the process that makes snapshots has ended by itself, with {how}",
            hint="if memory was short, the system's log says so; it is started again",
        ) from error
    finally:
        _ended(process, line)


def _started(niceness: int) -> tuple[subprocess.Popen[bytes], Connection]:
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "streamer.snapshot.apart_process"]
    ours, theirs = socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                launched(command, signal.SIGKILL),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C is for the worker, which ends it. Not in a session of its own: where Linux
                # shares out time among sessions, a priority counts inside of one alone.
                process_group=0,
            )
        except OSError as error:
            ours.close()
            raise SnapshotError(
                f"no process can be started to make snapshots: {error.strerror}",
                hint="raise the limits on processes and memory of this worker",
            ) from error
    _put_behind(process.pid, niceness)
    return process, Connection(ours.detach())


def _put_behind(pid: int, niceness: int) -> None:
    """Before it has loaded anything, which takes a fifth of a second of a processor."""
    # It may have ended already, which shows soon.
    with suppress(OSError):
        behind = os.getpriority(os.PRIO_PROCESS, 0) + min(niceness, _NICE_MAX)
        os.setpriority(os.PRIO_PROCESS, pid, min(behind, _NICE_MAX))
        if niceness > _NICE_MAX and sys.platform == "linux":
            # Whoever wakes runs at once, where one that is merely nice keeps the processor for the
            # rest of its slice. The kernel reads and writes its files in the disk's idle class.
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _heard(line: Any, pace: Pace, report: Report) -> Created:
    """Answer until it is done."""
    progress = Progress()
    while True:
        report(progress)
        if not line.poll(_LOOK_S):
            continue
        said = line.recv()
        if isinstance(said, Progress):
            progress = said
        elif isinstance(said, Take):
            # A chunk of a slow pace takes seconds: who does not want it any more says so meanwhile.
            pace.take(said.size, partial(report, progress))
            line.send(said)
        elif isinstance(said, Said):
            logging.getLogger(said.logger).log(said.level, "%s", said.text)
        elif isinstance(said, StreamerError):
            raise said
        else:
            assert isinstance(said, Created)
            report(progress)
            return said


def _ended(process: subprocess.Popen[bytes], line: Connection) -> int:
    """End it, if it has not, with whatever it has started. Returns its code."""
    line.close()
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        # It leads a group of its own, and is not waited for yet: so the number is still its own.
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()
