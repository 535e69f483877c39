"""Who is alive: whoever speaks, and of the silent ones those whose session Kafka keeps.

    heard first --> joining --- Kafka has its session ---> alive --- silent for long --> suspect
                                                             ^                            |  |
                                                             +--- Kafka has its session --+  |
                                                                                             |
                                 struck <---- its session has ended -------------------------+

Every process writes its status every few seconds, and is the only member of a consumer group of its
own. Words cost everybody who has to know nothing but reading them; a session is kept alive by the
client library without the interpreter, so that user code which never lets go of it is not taken for
death. Words alone are not enough for a stranger: a record without a process would be given tasks.
Nobody is struck while Kafka cannot be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from streamer.control.identity import Process
from streamer.control.messages import StatusRecord, process_of

__all__ = ["AGAIN_MS", "JOINING_MS", "Roll"]

# A session ends within this of the moment at which its worker has been silent for as long.
AGAIN_MS = 500
# A process says its first word a moment before it is in its group.
JOINING_MS = 200


class Roll:
    """The processes that are alive, for one controller."""

    def __init__(self, *, suspicion_ms: int) -> None:
        self._suspicion_ms = suspicion_ms
        self._trusted_ms: dict[Process, int] = {}
        """Until when each is taken for alive without asking."""
        self._joining_ms: dict[Process, int] = {}
        """When to ask whether each is there."""
        self._silent_ms: dict[Process, int] = {}
        """When each will have been silent for long."""
        self._numbers: dict[Process, int] = {}

    @property
    def sessions(self) -> frozenset[Process]:
        return frozenset(self._trusted_ms)

    def load(self, records: Iterable[StatusRecord], *, now_ms: int, wall_ms: int) -> None:
        """Begin with the last words that the log has: whoever has not spoken for long, by the clock
        of the one that spoke last or by this one's, is a suspect at once. Clocks only decide when
        it is asked."""
        words = list(records)
        newest_ms = max((wall_ms, *(word.at_ms for word in words)))
        for word in words:
            left_ms = max(self._suspicion_ms - (newest_ms - word.at_ms), 0)
            self._numbers[process_of(word)] = word.number
            self._trusted_ms[process_of(word)] = now_ms + left_ms
            if word.left:
                self._strike(process_of(word))

    def hear(self, records: Iterable[StatusRecord], *, now_ms: int) -> None:
        """What was written since, in the order of the log. An older word than the last is none."""
        for record in records:
            process = process_of(record)
            if record.number <= self._numbers.get(process, 0):
                continue
            if record.left:
                self._strike(process)
                continue
            self._numbers[process] = record.number
            self._silent_ms[process] = now_ms + self._suspicion_ms
            if process in self._trusted_ms:
                self._trusted_ms[process] = self._silent_ms[process]
            else:
                self._joining_ms.setdefault(process, now_ms)

    def suspects(self, now_ms: int) -> frozenset[Process]:
        """Those of whom it is to be asked whether their sessions are kept."""
        due = (*self._trusted_ms.items(), *self._joining_ms.items())
        return frozenset(process for process, at_ms in due if at_ms <= now_ms)

    def judge(self, asked: Set[Process], alive: Set[Process], *, now_ms: int) -> None:
        """Strike whoever was asked for, is not alive and has not been heard meanwhile; let those
        join who are."""
        for process in asked & self.suspects(now_ms):
            if process in self._joining_ms:
                self._judge_joining(process, is_alive=process in alive, now_ms=now_ms)
            elif process in alive:
                self._trusted_ms[process] = now_ms + AGAIN_MS
            else:
                self._strike(process)

    def _judge_joining(self, process: Process, *, is_alive: bool, now_ms: int) -> None:
        if is_alive:
            del self._joining_ms[process]
            self._trusted_ms[process] = self._silent_ms[process]
        elif now_ms < self._silent_ms[process]:
            self._joining_ms[process] = now_ms + JOINING_MS
        else:
            self._strike(process)

    def _strike(self, process: Process) -> None:
        for known in (self._trusted_ms, self._joining_ms, self._silent_ms, self._numbers):
            known.pop(process, None)
