"""The state directory of a host, and the part of it that one worker holds.

    <state_dir>/<application id>/worker-0/streamer.json   whose it is
                                          lock            held while a worker uses it
                                          tasks/0_3/      a task's database
                                          tasks/0_3.layout-2/
                                          tasks/0_3.old-1700000000000/   put aside, not read again
                                          tasks/0_3.digests  hashes of its files, of snapshots
                                          checkpoints/       of snapshots in the making
    <state_dir>/<application id>/worker-1/ ...

Each worker process of a host takes a numbered slot and keeps its worker id there, so a restarted
worker is the same worker and finds its state. Nothing here ever deletes state.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from streamer.closable import Closable
from streamer.errors import ConfigError, StateDirectoryError
from streamer.ids import Layout, TaskId, parse_state_name, state_name
from streamer.layout import ApplicationLayout

__all__ = ["FORMAT_VERSION", "Identity", "TaskDirectory", "WorkerDirectory"]

FORMAT_VERSION = 1
SLOTS_MAX = 256
_IDENTITY = "streamer.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the identity file says."""

    application_id: str
    worker_id: str
    format: int = FORMAT_VERSION
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class TaskDirectory:
    """A task that has a directory; it need not belong to this worker any more."""

    task: TaskId
    layout: Layout
    path: Path


class WorkerDirectory(Closable):
    """One slot, locked until `close`. Make it with `WorkerDirectory.open`.

    `layout` is the one that the worker runs: a task has the directory of the layout that its state
    was built for. Those of other layouts stay as they are beside it.
    """

    def __init__(self, path: Path, identity: Identity, lock: int) -> None:
        self.path = path
        self.layout = ApplicationLayout()
        self.identity = identity
        self._lock = lock

    @property
    def worker_id(self) -> str:
        return self.identity.worker_id

    @classmethod
    def open(
        cls,
        state_dir: Path,
        application_id: str,
        *,
        worker_id: str | None = None,
        slot: int | None = None,
    ) -> WorkerDirectory:
        """Take a slot: the given one, or the first that is free.

        A given `worker_id` is kept in a new slot and must be that of an existing one; without a
        `slot` the slot that has it is taken. Raises StateDirectoryError when the slot is in use
        (naming the process), or belongs to another application, worker or format.
        """
        refusal: StateDirectoryError | None = None
        for path in _candidates(state_dir / application_id, worker_id, slot):
            lock = _lock(path)
            if isinstance(lock, StateDirectoryError):
                refusal = lock
                continue
            try:
                return cls(path, _identity(path, application_id, worker_id), lock)
            except BaseException:
                os.close(lock)
                raise
        assert refusal is not None
        raise refusal

    def task(self, task: TaskId, layout: Layout | None = None) -> Path:
        """Where the database of a task is, or will be made; in the layout that runs unless another
        is named."""
        layout = self.layout.since(task.subtopology) if layout is None else layout
        return self.path / "tasks" / state_name(task, layout)

    def digests(self, task: TaskId, layout: Layout | None = None) -> Path:
        """The file of hashes from one snapshot of a task to the next; it may be lost."""
        path = self.task(task, layout)
        return path.with_name(f"{path.name}.digests")

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are made: on the disk of the tasks. Nothing there outlives a start."""
        return self.path / "checkpoints"

    def put_aside(self, task: TaskId, now_ms: int) -> Path:
        """Make room for a new database of a task that is closed; returns where the old one is.

        Raises StateDirectoryError when the disk refuses.
        """
        path = self.task(task)
        aside = path.with_name(f"{path.name}.old-{now_ms}")
        try:
            path.rename(aside)
        except OSError as error:
            raise StateDirectoryError(
                f"the state in {path} cannot be renamed to {aside.name}: {error.strerror}",
                hint="move it away by hand and start again; nothing was changed",
            ) from error
        return aside

    def tasks(self) -> list[TaskDirectory]:
        """All tasks that have state here, in order."""
        found = []
        for path in sorted((self.path / "tasks").glob("*")):
            if not (path / "CURRENT").exists():
                continue
            with suppress(ConfigError):
                found.append(TaskDirectory(*parse_state_name(path.name), path))
        return sorted(found, key=lambda one: (one.layout, one.task))

    def close(self) -> None:
        """Release the slot. Idempotent; the end of the process does it too."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lock(path: Path) -> int | StateDirectoryError:
    """The descriptor that holds the lock, or why it cannot be had."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Not inherited by children, which would hold the slot after this process has ended.
        file = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateDirectoryError(
            f"the state directory {path} cannot be used: {error.strerror}",
            hint="state_dir must be on a local disk that this user may write to",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
        os.close(file)
        return StateDirectoryError(
            f"the state directory {path} is in use by {holder}",
            hint="stop that process, or give this worker a state_dir of its own",
        )
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return file


def _candidates(base: Path, worker_id: str | None, slot: int | None) -> list[Path]:
    """The slots to try, in order."""
    if slot is not None:
        return [base / f"worker-{slot}"]
    paths = [base / f"worker-{number}" for number in range(SLOTS_MAX)]
    if worker_id is None:
        return paths
    owners = {path: _worker_id(path) for path in paths}
    own = [path for path, owner in owners.items() if owner == worker_id]
    return own or [path for path, owner in owners.items() if owner is None]


def _worker_id(path: Path) -> str | None:
    """The id in a slot, None where there is none yet."""
    try:
        return _load(path).worker_id
    except FileNotFoundError:
        return None


def _identity(path: Path, application_id: str, worker_id: str | None) -> Identity:
    """The identity in a slot that is locked, written first where there is none."""
    try:
        found = _load(path)
    except FileNotFoundError:
        found = Identity(
            application_id,
            worker_id or f"{socket.gethostname().split('.')[0][:80]}-{secrets.token_hex(4)}",
            created_ms=time.time_ns() // 1_000_000,
        )
        _store(path, found)
        return found
    if found.application_id != application_id:
        raise StateDirectoryError(
            f"the state in {path} belongs to application {found.application_id!r}, "
            f"not to {application_id!r}",
            hint="give each application a state_dir of its own, or correct application_id",
        )
    if worker_id is not None and found.worker_id != worker_id:
        raise StateDirectoryError(
            f"the state in {path} belongs to worker {found.worker_id!r}, not to {worker_id!r}",
            hint="remove worker_id from the settings, or give this worker another state_dir",
        )
    return found


def _load(path: Path) -> Identity:
    """Raises FileNotFoundError where there is none, StateDirectoryError for another format."""
    file = path / _IDENTITY
    text = file.read_text()
    try:
        stored = json.loads(text)
        version = stored["format"]
        if version == FORMAT_VERSION:
            return Identity(**stored)
    except (ValueError, KeyError, TypeError) as error:
        raise StateDirectoryError(
            f"{file} is not readable as an identity file: {error}",
            hint="restore it from a copy; it says which application and worker the state is of",
        ) from error
    raise StateDirectoryError(
        f"the state in {path} has format {version}, this version of Streamer uses format "
        f"{FORMAT_VERSION}",
        hint="run the version of Streamer that made it, or set another state_dir to start anew",
    )


def _store(path: Path, identity: Identity) -> None:
    """Atomic: a crash leaves the file whole or absent."""
    part = path / (_IDENTITY + ".part")
    with open(part, "w") as file:
        json.dump(asdict(identity), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path / _IDENTITY)
