"""The operations topic of one application in memory, with a controller that answers requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.operator import Operator
from streamer.control.requests import (
    Answer,
    ModeRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    decode,
    encode,
    key_of,
)
from streamer.ids import TopicPartition
from streamer.kafka.table import Row

__all__ = ["Desk"]

PLACE = TopicPartition("app.operations", 0)


class Desk:
    """Stands where `Operator` reaches Kafka. `proposed` is the id of what the controller proposes,
    "" for nothing to be moved; while it `is_away` requests stay without an answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock(1_000_000)
        self.rows: list[Row] = []
        self.adopted: list[str] = []
        self.proposed = "p1"
        self.moves_left = 0
        self.modes: tuple[ModeRecord, ...] = ()
        self.is_away = False
        self.on_put: Callable[[], None] | None = None
        """What others do right after the next request is written."""
        self.on_read: list[Callable[[], None] | None] = []
        """What they do before each of the next looks."""
        self.halted = ""
        self.outcome = ("", "")
        self.dies_after_writing = False
        module = "streamer.control.operator"
        topics = SimpleNamespace(find=lambda *_given: SimpleNamespace(operations=PLACE))
        ends = SimpleNamespace(ends=lambda _places: self._ends())
        monkeypatch.setattr(f"{module}.ControlTopics", topics)
        monkeypatch.setattr(f"{module}.Admin", lambda _config: ends)
        monkeypatch.setattr(f"{module}.TableReader", lambda _config, _places: _Reader(self))
        monkeypatch.setattr(f"{module}.TableWriter", lambda _config: _Writer(self))
        monkeypatch.setattr(f"{module}.SystemClock", lambda: self.clock)

    def _ends(self) -> dict[TopicPartition, int]:
        others = self.on_read.pop(0) if self.on_read else None
        if others is not None:
            others()
        return {PLACE: len(self.rows)}

    def operator(self) -> Operator:
        return Operator(Config(application_id="app"))

    def asked(self) -> list[RebalanceRecord]:
        """All requests to move or to stop, in their order."""
        key = key_of(RebalanceRecord)
        values = (row.value for row in self.rows if row.key == key and row.value is not None)
        return [decode(RebalanceRecord, PLACE.topic, value) for value in values]

    def put(self, key: str, value: bytes | None) -> None:
        self.rows.append(Row(PLACE, len(self.rows), key, value))

    def answer(self, key: str, value: bytes) -> None:
        """As the controller does when it reads a request, also one that stood before it came."""
        self.clock.advance(1_000)
        if key == key_of(ProposeRecord):
            asked = decode(ProposeRecord, PLACE.topic, value)
            after = {"0_1": ("w2",)} if self.proposed else {}
            self._tell(
                ProposalRecord(
                    id=self.proposed, number=asked.number, after=after, modes_before=self.modes
                )
            )
        elif key == key_of(RebalanceRecord):
            wish = decode(RebalanceRecord, PLACE.topic, value)
            self.adopted.append("stopped" if wish.stops else wish.id)
            how = "stopped" if wish.stops else "adopted"
            self.outcome = (wish.number, how)
            self.tell()

    def hear(self, wish: RebalanceRecord) -> None:
        """The controller comes to a request that stands."""
        self.answer(key_of(RebalanceRecord), encode(wish))

    def tell(self) -> None:
        """The controller tells again where it is going."""
        self._tell(PlanRecord(controller="w1", rebalance=self.outcome))

    def _tell(self, answer: Answer) -> None:
        given: dict[str, Any] = {"at_ms": self.clock.now_ms()}
        if isinstance(answer, PlanRecord):
            given |= {"moves_left": self.moves_left, "modes": self.modes, "halted": self.halted}
        fields = {name: getattr(answer, name) for name in answer.__struct_fields__}
        self.put(key_of(type(answer)), encode(type(answer)(**{**fields, **given})))


class _Reader:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._at = 0

    def read_to(self, ends: Mapping[TopicPartition, int], *, timeout_s: float) -> list[Row]:
        begin, self._at = self._at, ends[PLACE]
        return self._desk.rows[begin : self._at]

    def close(self) -> None:
        pass


class _Writer:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def put(self, _place: TopicPartition, key: str, value: bytes) -> None:
        desk = self._desk
        desk.put(key, value)
        if desk.dies_after_writing:
            desk.dies_after_writing = False
            raise SystemExit
        if not desk.is_away:
            desk.answer(key, value)
        if (others := desk.on_put) is not None:
            desk.on_put = None
            others()

    def flush(self, _timeout_s: float) -> None:
        pass

    def close(self) -> None:
        pass
