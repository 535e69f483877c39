"""The process that makes one snapshot: `python -m streamer.snapshot.apart_process`.

Its standard input is the line to the worker: a job comes, then progress, questions and lines for
the log go, and the snapshot in the end, or what went wrong. Where nobody listens any more it ends.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from streamer import failpoints
from streamer.errors import SnapshotError, StoppedError, StreamerError
from streamer.snapshot.apart import Job, Said, Take
from streamer.snapshot.checkpoint import Checkpoint, Digests
from streamer.snapshot.create import Created, create
from streamer.snapshot.duty import DutyCycle
from streamer.snapshot.opening import open_repository
from streamer.snapshot.pace import Pace
from streamer.snapshot.transfer import Progress, Report

__all__ = ["main", "make"]

_log = logging.getLogger(__name__)

_TELL_S = 0.2
_LOOK_S = 0.1


def make(job: Job, pace: Pace, report: Report) -> Created:
    """`Make` in this process."""
    # What is read to be hashed goes no faster than it may be sent: processing needs the disk.
    digests = Digests(job.digests, pace.through)
    with open_repository(job.config, job.address, pace=pace) as repository:
        if job.is_fit:
            repository.take_as_fit()
        return create(
            repository,
            repository.shelf(job.config.application_id, job.task, job.layout),
            Checkpoint(job.directory, digests),
            about=job.about,
            report=report,
        )


class _Line:
    """What is said to the worker, by any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Any = connection
        self._sending, self._asking = threading.Lock(), threading.Lock()
        self._told_s = 0.0
        self._is_over = threading.Event()

    def say(self, what: object) -> None:
        """Raises StoppedError where nobody listens."""
        try:
            with self._sending:
                self._connection.send(what)
        except OSError as error:
            raise self._over() from error

    def tell(self, progress: Progress) -> None:
        """Now and then: it is called for each chunk."""
        if self._is_over.is_set():
            raise self._over()
        now_s = time.monotonic()
        is_late = now_s - self._told_s >= _TELL_S
        if progress.files_total and (is_late or progress.bytes_done == progress.bytes_total):
            self._told_s = now_s
            self.say(progress)

    def take(self, count: int) -> None:
        """Wait until so many bytes may move."""
        with self._asking:
            self.say(Take(count))
            try:
                self._connection.recv()
            except (EOFError, OSError) as error:
                raise self._over() from error

    def wait(self, seconds: float) -> None:
        """Do nothing for so long. Raises StoppedError as soon as nobody listens."""
        if self._is_over.wait(seconds):
            raise self._over()

    def watch(self) -> None:
        """Notice that nobody listens also where nothing is to be said."""

        def look() -> None:
            # The other end says nothing unasked, so what can be read is its end or an answer.
            while not self._is_over.wait(_LOOK_S):
                if self._asking.acquire(blocking=False):
                    try:
                        if self._connection.poll(0):
                            self._over()
                    finally:
                        self._asking.release()

        threading.Thread(target=look, daemon=True, name="line").start()

    def _over(self) -> StoppedError:
        self._is_over.set()
        return StoppedError("nobody waits for the snapshot any more")


class _Restful(Pace):
    """Rests between chunks. How fast they may move the worker is asked, where it has a limit."""

    def __init__(self, duty: DutyCycle, ask: Callable[[int], None] | None) -> None:
        super().__init__()
        self._duty = duty
        self._ask = ask

    def take(self, count: int, meanwhile: Callable[[], object] | None = None) -> None:
        if self._ask is not None:
            self._ask(count)
        self._duty.rest()


class _Forward(logging.Handler):
    """Gives lines to the worker's log, and its level and form."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:
            # A line that a library cannot write costs no snapshot, and is seen.
            said = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            text = f"{said!r} cannot be written: {type(error).__name__}: {error}"
        with suppress(StoppedError):
            self._line.say(Said(record.name, record.levelno, text))


def main() -> None:
    # What is to be killed in a test is the worker; this one goes with it.
    failpoints.kill_instead(os.getppid())
    connection: Any = Connection(_line())
    job = connection.recv()
    assert isinstance(job, Job)
    line = _Line(connection)
    logging.basicConfig(level=job.log_level, handlers=[_Forward(line)], format="%(message)s")
    line.watch()
    try:
        line.say(_made(job, line))
    except StoppedError:
        return


def _line() -> int:
    """The line, which nobody else has: a program that is asked for credentials would inherit the
    standard input, read the answers to this process from it, and keep it open after its end."""
    line, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return line


def _made(job: Job, line: _Line) -> Created | StreamerError:
    duty = DutyCycle(job.cpu_percent, sleep=line.wait)
    pace = _Restful(duty, line.take if job.is_limited else None)
    try:
        return make(job, pace, line.tell)
    except StoppedError:
        raise
    except StreamerError as error:
        return error
    except Exception as error:
        _log.exception("task %s: the snapshot has failed", job.task)
        return SnapshotError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
