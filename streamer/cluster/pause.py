"""A pause of the whole application, as the controller keeps it. Pure.

    an operation claims the right to record layouts, and asks for a pause of a number
    every assignment carries it from here on, those of later controllers too
    a worker that reads it commits, stops processing, and says so
    all that may own anything have said so: it `holds`, and the operation may switch
    it ends when the operation says so, or when its lease is over

Who is granted a task gets the pause with it, so no owner is without it, however many die meanwhile.
And nobody ends it without having read, after the operation said so, that no other layout was
recorded; or without having taken the right to record one away before, as any process can do by the
transactional id. A controller reads that too before it begins. So either the switch is committed,
and nobody processes under the former layout again, or it never can be. No clock decides that:
leases only say when somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamer.cluster.events import EndPause
from streamer.cluster.view import WorkerView
from streamer.control.requests import PauseRecord

__all__ = ["Pause", "PauseState"]

PauseState = Literal["", "asked", "holds", "ending", "lapsed", "lifted"]
_RETRY_MS = 1_000
_NAMED_MAX = 20


@dataclass(slots=True)
class Pause:
    """The last pause that was asked for, and what became of it."""

    number: str = ""
    state: PauseState = ""
    lease_ms: int = 0
    unpaused: tuple[str, ...] = ()
    """The first of those who may still process."""
    _ends_ms: int = 0
    _is_lifted: bool = False
    _is_trying: bool = False

    @property
    def stands(self) -> bool:
        """Whether assignments carry it."""
        return self.state in ("asked", "holds", "ending")

    @property
    def carried(self) -> tuple[str, int]:
        """What assignments say of it: its number and its lease."""
        return (self.number, self.lease_ms) if self.stands else ("", 0)

    @property
    def told(self) -> tuple[str, str]:
        return self.number, self.state

    def remember(self, told: tuple[str, str]) -> None:
        """What the predecessor said: only what has ended, since what stands is asked for still."""
        if told[1] == "lapsed":
            self.number, self.state = told[0], "lapsed"
        elif told[1] == "lifted":
            self.number, self.state = told[0], "lifted"

    def settle(self, request: PauseRecord) -> None:
        """Of a new controller, which has read this request and then found that its own layout is
        the recorded one: where the pause is over, nothing is left to be found out."""
        if request.is_over:
            self.number, self.state, self._is_lifted = request.number, "lifted", True

    def hear(self, request: PauseRecord, now_ms: int) -> bool:
        """Take in a request. Returns whether there is something to do."""
        if request.number == self.number:
            if not self.stands or not request.is_over or self._is_lifted:
                return False
        else:
            # Of a later claim: nothing of an earlier one can come any more.
            self.number, self.lease_ms, self.unpaused = request.number, request.lease_ms, ()
            self.state, self._is_trying = "asked", False
        self._is_lifted = request.is_over
        self.state = "ending" if request.is_over else "asked"
        self._ends_ms = now_ms if request.is_over else now_ms + request.lease_ms
        return True

    def look(self, workers: Mapping[str, WorkerView]) -> bool:
        """Whether all keep it that may own anything, or somebody has ended it; whether that is
        news. What holds goes on to hold: owners come only by assignments that carry it."""
        if not self.stands:
            return False
        said = [
            (worker, view.reports.get(one))
            for worker, view in workers.items()
            for one in view.owners()
        ]
        if any(report is not None and report.record.resumed == self.number for _, report in said):
            self._end("lapsed")
            return True
        before = self.told, self.unpaused
        late = [
            worker
            for worker, report in said
            if report is None or report.record.paused != self.number
        ]
        if self.state == "asked" and not late:
            self.state = "holds"
        self.unpaused = tuple(sorted(late)[:_NAMED_MAX]) if self.state == "asked" else ()
        return (self.told, self.unpaused) != before

    # -- its end --------------------------------------------------------------------------------

    def is_to_end(self, now_ms: int) -> bool:
        """Whether it is time to make sure that nothing came of it; said once until `tried`."""
        if not self.stands or self._is_trying or now_ms < self._ends_ms:
            return False
        self._is_trying = True
        return True

    @property
    def ending(self) -> EndPause:
        """How: who ended it itself need not be kept from recording a layout for it."""
        return EndPause(self.number, fences=not self._is_lifted)

    def tried(self, number: str, *, is_done: bool, now_ms: int) -> bool:
        """What became of that. Returns whether the pause has ended by it."""
        if number != self.number or not self.stands:
            return False
        self._is_trying = False
        if is_done:
            self._end("lifted" if self._is_lifted else "lapsed")
        else:
            self._ends_ms = now_ms + _RETRY_MS
        return is_done

    def _end(self, state: Literal["lapsed", "lifted"]) -> None:
        self.state, self.unpaused, self._is_trying = state, (), False
