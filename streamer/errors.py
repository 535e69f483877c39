"""Every error that Streamer raises on purpose.

    StreamerError                 1   `exit_code`: what the command line ends with
    ├── UsageError                2   refuse to start
    │   ├── ConfigError
    │   │   └── MisuseError       2   user code asks its step for what that has not
    │   ├── TopologyError
    │   └── SerdeError
    ├── ProcessingError           1   user code or a record; the handler decides what follows
    ├── TaskMigratedError         1   lost ownership: close dirty and join again
    │   └── FencedError
    ├── TaskCorruptedError        1   bad local state: rebuild that task alone
    │   ├── StateOutdatedError    1   too old to go on from; its changelog has all of it
    │   └── ChangelogTrimmedError  1   its changelog lacks what comes next: a snapshot is needed
    ├── StateDirectoryError       1   locked, of another application, of another format
    ├── KafkaUnavailableError     1   outside: retry until a deadline, then say what was tried
    │   └── RegistryUnavailableError  1
    ├── StoppedError              1   asked to stop while it waited for brokers
    ├── TopicMissingError         1
    ├── PartitionsChangedError    1
    ├── RecordRefusedError        1   a record that the brokers take in no case
    │   └── RecordTooLargeError   1
    ├── InternalTopicError        1
    ├── TopologyChangedError      1
    ├── LayoutChangedError        1   a newer layout was recorded: close, and begin with that one
    ├── PauseError                1   a pause did not come about, or was over too soon
    ├── RepositoryError           1   where snapshots are kept refuses: a missing right, a full disk
    │   └── RepositoryUnavailableError  1   outside: retried until a deadline
    ├── SnapshotError             1   one snapshot cannot be made or used; others may be
    │   ├── SnapshotMissingError  1   it, or a file of it, is gone: choose another
    │   ├── SnapshotDamagedError  1   its bytes are not those that were stored
    │   └── SnapshotMismatchError  1   of another application, task, layout, format or changelog
    ├── SandboxError              1   the embedded Kafka could not be fetched, started or stopped
    ├── OperationRefusedError     3   nothing was changed
    │   └── SnapshotNeededError   3   it can be done once a snapshot of this layout was made
    ├── UnfinishedError           1   what was asked for stands, and cannot be done at present
    └── InvariantError            1   our own mistake: stop at once, the changelog makes that safe

A message names what happened and where; the hint says what to do next.
"""

from __future__ import annotations

from typing import ClassVar, Final

__all__ = [
    "RAISED_BY_USERS",
    "ChangelogTrimmedError",
    "ConfigError",
    "FencedError",
    "InternalTopicError",
    "InvariantError",
    "KafkaUnavailableError",
    "LayoutChangedError",
    "MisuseError",
    "OperationRefusedError",
    "PartitionsChangedError",
    "PauseError",
    "ProcessingError",
    "RecordRefusedError",
    "RecordTooLargeError",
    "RegistryUnavailableError",
    "RepositoryError",
    "RepositoryUnavailableError",
    "SandboxError",
    "SerdeError",
    "SnapshotDamagedError",
    "SnapshotError",
    "SnapshotMismatchError",
    "SnapshotMissingError",
    "SnapshotNeededError",
    "StateDirectoryError",
    "StateOutdatedError",
    "StoppedError",
    "StreamerError",
    "TaskCorruptedError",
    "TaskMigratedError",
    "TopicMissingError",
    "TopologyChangedError",
    "TopologyError",
    "UnfinishedError",
    "UsageError",
]


RAISED_BY_USERS: Final = (Exception, SystemExit)
"""What user code may raise. `sys.exit` ends a script; in a function that is called for a record it
would end the worker, and one after the other, without a word about the record."""


class StreamerError(Exception):
    """The root. `str(error)` is the message alone; `describe()` adds the hint."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def describe(self) -> str:
        """The message, and the hint on a line of its own where there is one."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(StreamerError):
    """The caller asked for something that cannot work; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, malformed, out of range or contradicts another."""


class MisuseError(ConfigError):
    """User code asks its step for what that does not have. While a record is processed it is that
    record's failure, as whatever else the code raises."""


class TopologyError(UsageError):
    """The description of the application does not make sense."""


class SerdeError(UsageError):
    """A key or value cannot be turned into bytes or back."""


class ProcessingError(StreamerError):
    """A record could not be processed. The cause is `__cause__` (raise it `from` the original)."""

    def __init__(
        self,
        message: str,
        *,
        topic: str = "",
        partition: int = -1,
        offset: int = -1,
        key: object = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.key = key

    def __str__(self) -> str:
        where = f"{self.topic}/{self.partition} offset {self.offset} key {self.key!r}"
        return f"{self.message} ({where})" if self.topic else self.message

    def describe(self) -> str:
        """The message with the record's address, the cause, and the hint."""
        lines = [str(self)]
        if self.__cause__ is not None:
            lines.append(f"cause: {type(self.__cause__).__name__}: {self.__cause__}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class TaskMigratedError(StreamerError):
    """The task belongs to another worker now; what was not committed is void."""


class FencedError(TaskMigratedError):
    """A newer producer with the same transactional id has taken over."""


class TaskCorruptedError(StreamerError):
    """The local state of one task cannot be trusted."""


class StateOutdatedError(TaskCorruptedError):
    """The state cannot be continued from, and its changelogs hold all of it from their begin."""


class ChangelogTrimmedError(TaskCorruptedError):
    """A changelog begins behind where the state stands: what lies between is gone, and only a
    snapshot that reaches it can help."""


class StateDirectoryError(StreamerError):
    """The state directory is locked, or belongs to another application or format."""


class KafkaUnavailableError(StreamerError):
    """The brokers did not answer within the deadline."""


class StoppedError(StreamerError):
    """The worker was asked to stop while it waited for brokers."""


class RegistryUnavailableError(KafkaUnavailableError):
    """The schema registry did not answer: no fault of the record that needed it."""


class TopicMissingError(StreamerError):
    """A topic that the application reads or writes does not exist."""


class PartitionsChangedError(StreamerError):
    """A topic has another number of partitions than the state was built for."""


class RecordRefusedError(StreamerError):
    """The broker or the producer refuses a record, however often it is sent."""


class RecordTooLargeError(RecordRefusedError):
    """A record is larger than the broker or the producer accepts."""


class InternalTopicError(StreamerError):
    """A changelog, repartition or control topic is not as the application needs it."""


class LayoutChangedError(StreamerError):
    """Another layout was recorded than the one that this worker runs."""


class PauseError(StreamerError):
    """A pause of the application did not come about, or was over too soon."""


class TopologyChangedError(StreamerError):
    """Workers of the same application run with another topology."""


class RepositoryError(StreamerError):
    """The repository of snapshots refuses: what it lacks is not mended by asking again."""


class RepositoryUnavailableError(RepositoryError):
    """The repository did not answer, or broke off, within the deadline."""


class SnapshotError(StreamerError):
    """A snapshot cannot be made or used."""


class SnapshotMissingError(SnapshotError):
    """The snapshot, or a file of it, is not in the repository (any more)."""


class SnapshotDamagedError(SnapshotError):
    """What the repository holds is not what was stored there."""


class SnapshotMismatchError(SnapshotError):
    """The snapshot is whole, but not one of this task, or not one that can be continued from."""


class SandboxError(StreamerError):
    """The embedded Kafka could not be fetched, started or stopped."""


class OperationRefusedError(StreamerError):
    """The request was understood and refused; nothing was changed."""

    exit_code = 3


class SnapshotNeededError(OperationRefusedError):
    """What is asked for begins with the state as it is, of which there is no snapshot."""


class UnfinishedError(StreamerError):
    """What was asked for stands, and cannot be done at present: something else has to come."""


class InvariantError(StreamerError):
    """A state that must never occur: a mistake in Streamer itself."""
