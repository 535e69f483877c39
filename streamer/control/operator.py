"""`Operator`: ask the controller of an application for something, and wait for what it answers.

    with Operator(config) as operator:
        proposal = operator.propose(timeout_s=10)
        operator.apply(proposal.id, timeout_s=10)

Requests are records: one that was written is found by whoever is the controller, now or later.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.identity import somebody
from streamer.control.requests import (
    DrainRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    Request,
    encode,
    key_of,
)
from streamer.control.said import Said
from streamer.control.topics import ControlTopics
from streamer.errors import KafkaUnavailableError, OperationRefusedError
from streamer.ids import control_topic
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader, TableWriter

__all__ = ["Operator", "Proposed"]

_READ_S = 30.0
_WRITE_S = 10.0
_LOOK_S = 0.2

Found = TypeVar("Found")


class Proposed(NamedTuple):
    """A proposal as whoever approved it saw it: `number` is of the asking, `at_ms` when it was
    made. The same placement may be proposed again, and has the same id then."""

    id: str
    number: str
    at_ms: int


class Operator(Closable):
    """Reads and writes the operations topic of one application. Used by one thread.

    Raises TopicMissingError where no worker of the application has ever run, KafkaUnavailableError
    when brokers or the controller do not answer, InternalTopicError for records of another release.
    """

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._admin = Admin(config)
        self._place = ControlTopics.find(config, self._admin).operations
        self._reader = TableReader(config, [self._place])
        self._writer: TableWriter | None = None
        self._said = Said()

    def plan(self) -> PlanRecord | None:
        """What the controller told last; None where none ever did."""
        self._read()
        return self._said.get(PlanRecord)

    def draining(self) -> DrainRecord:
        """What is to be emptied at present."""
        self._read()
        return self._said.get(DrainRecord) or DrainRecord()

    def drain(
        self,
        *,
        zones: Iterable[str],
        workers: Iterable[str],
        kept: Iterable[str] = (),
        follows: str = "",
    ) -> DrainRecord:
        """Give these zones and workers nothing from now on, and no others; returns what was asked.
        Those that are `kept` keep what they have. `follows` is the name of the drain that this one
        was made from."""
        asked = DrainRecord(
            number=secrets.token_hex(6),
            follows=follows,
            zones=tuple(sorted(set(zones))),
            workers=tuple(sorted(set(workers))),
            kept=tuple(sorted(set(kept))),
            by=somebody(),
            at_ms=self._clock.now_ms(),
        )
        self._write(asked)
        return asked

    def is_informed(self, drain: DrainRecord, of: Iterable[str]) -> bool:
        """Whether it was made from one of these names, or from what was. Of two that were asked for
        at once neither is, and the later one has replaced the other unknowingly."""
        return self._said.is_informed(drain, of)

    def has_controller(self) -> bool:
        """Whether one is elected at this moment. Raises KafkaUnavailableError."""
        members = control_topic(self._config.application_id, "members")
        return any(each.partitions for each in self._admin.group_members(members))

    def propose(self, *, timeout_s: float) -> ProposalRecord:
        """A placement that the controller computes from what it knows now."""
        number, is_read = secrets.token_hex(6), False
        self._write(ProposeRecord(number=number, by=somebody(), at_ms=self._clock.now_ms()))

        def made() -> ProposalRecord | None:
            nonlocal is_read
            found, asked = self._said.get(ProposalRecord), self._said.get(ProposeRecord)
            if found is not None and found.number == number:
                return found
            is_mine = asked is not None and asked.number == number
            if asked is not None and is_read and not is_mine:
                raise OperationRefusedError(
                    f"{asked.by or 'somebody'} asked for a proposal at the same time",
                    hint="the same command asks again",
                )
            is_read |= is_mine
            return None

        return self._wait(made, timeout_s)

    def answers(self) -> tuple[ProposalRecord | None, PlanRecord | None]:
        """What was proposed last, and what the controller told last: of one look."""
        self._read()
        return self._said.get(ProposalRecord), self._said.get(PlanRecord)

    def apply(self, proposal: str, *, timeout_s: float) -> str:
        """Have the controller go towards a proposal; returns the number of this request.

        Raises OperationRefusedError where it is not known or the placement is not as it was, and
        where somebody has asked for something else before the controller answered.
        """
        return self._rebalance(proposal, timeout_s=timeout_s)

    def replaced_by(self, number: str) -> RebalanceRecord | None:
        """The request that stands in place of the one with this number; None where that stands, or
        has yet to be read."""
        self._read()
        return self._said.replaced_by(number)

    def apply_once(self, proposed: Proposed, *, timeout_s: float, number: str) -> None:
        """The same for a caller that may ask again: `number` is its own name of this asking. With
        the same one again, what became of it is told, and nothing asked for twice.

        Raises OperationRefusedError also where somebody has stopped the moves since it was
        proposed: a later try does not undo that.
        """
        if not self._is_asked(number) and (by := self.stopped_by(proposed)):
            raise OperationRefusedError(
                f"{by} had every task stay where it is since {proposed.id} was proposed",
                hint="plan anew to move tasks all the same: streamer rebalance plan",
            )
        self._rebalance(proposed.id, timeout_s=timeout_s, number=number)

    def stop_asked(self) -> RebalanceRecord | None:
        """The wish that every task stay where it is, while nobody has asked for moves since."""
        self._read()
        asked = self._said.get(RebalanceRecord)
        return asked if asked is not None and asked.stops else None

    def stopped_by(self, proposed: Proposed) -> str:
        """Who had every task stay where it is since this was proposed; "" where nobody did."""
        stop = self.stop_asked()
        if stop is None:
            return ""
        made = self._said.get(ProposalRecord)
        if made is not None and made.number == proposed.number:
            is_later = self._said.is_later(RebalanceRecord, ProposalRecord)
        else:
            # Another one has taken its place: clocks have to do.
            is_later = stop.at_ms >= proposed.at_ms
        return (stop.by or "somebody") if is_later else ""

    def asked_ms(self, number: str) -> int:
        """When the request of this number was made; 0 where it does not stand."""
        self._read()
        asked = self._said.get(RebalanceRecord)
        return asked.at_ms if asked is not None and asked.number == number else 0

    def stop(self, *, timeout_s: float) -> None:
        """Have every task stay where it is now, also at workers that are drained; copies that are
        being built are finished."""
        self._rebalance("", stops=True, timeout_s=timeout_s)

    def _rebalance(
        self, proposal: str, *, timeout_s: float, stops: bool = False, number: str = ""
    ) -> str:
        is_asked = bool(number) and self._is_asked(number)
        number = number or secrets.token_hex(6)
        if not is_asked:
            self._write(
                RebalanceRecord(
                    number=number,
                    id=proposal,
                    stops=stops,
                    drain=self.draining().name if stops else None,
                    by=somebody(),
                    at_ms=self._clock.now_ms(),
                )
            )

        def outcome() -> str | None:
            found = self._said.get(PlanRecord)
            if found is not None and found.rebalance[0] == number:
                return found.rebalance[1]
            if newer := self.replaced_by(number):
                raise OperationRefusedError(
                    f"{f'plan {proposal}' if proposal else 'the stop'} was replaced before the"
                    f" controller answered, by {newer.words}",
                    hint="streamer show moves tells what goes on; the same command asks again",
                )
            return None

        said = self._wait(outcome, timeout_s)
        if said.startswith("refused"):
            raise OperationRefusedError(
                f"the controller {said}", hint="look at a new plan: streamer rebalance plan"
            )
        return number

    def close(self) -> None:
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def _is_asked(self, number: str) -> bool:
        """Whether the request of this number stands, or was answered last."""
        self._read()
        asked, told = self._said.get(RebalanceRecord), self._said.get(PlanRecord)
        return (asked is not None and asked.number == number) or (
            told is not None and told.rebalance[0] == number
        )

    def _wait(self, look: Callable[[], Found | None], timeout_s: float) -> Found:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._read()
            found = look()
            if found is not None:
                return found
            time.sleep(_LOOK_S)
        raise KafkaUnavailableError(
            f"no controller of {self._config.application_id} has answered in {timeout_s:g} s",
            hint="the request stands, and the next controller finds it; streamer show workers tells"
            " who is one",
        )

    def _read(self) -> None:
        ends = self._admin.ends([self._place])
        rows = self._reader.read_to(ends, timeout_s=_READ_S)
        self._said.take(rows, self._place.topic)

    def _write(self, request: Request) -> None:
        if self._writer is None:
            self._writer = TableWriter(self._config)
        application = self._config.application_id
        self._writer.put(self._place, key_of(type(request)), encode(request, application))
        self._writer.flush(_WRITE_S)
