"""Operations pause the application and switch its layout, are killed, stopped, and wake too late.

After a layout was recorded nobody processes under the former one, whoever was elected, fenced or
started meanwhile. And where none was, all process again, without anybody's help.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from streamer.cluster.events import EndPause
from streamer.cluster.kept import KeptPause
from streamer.cluster.pause import Pause
from streamer.cluster.work import Work
from streamer.control.requests import PauseRecord, PlanRecord
from streamer.errors import TopologyChangedError
from streamer.ids import Layout
from streamer.topology.shape import Shape
from tests.simulation.kafka import RECORDER, Kafka
from tests.simulation.lives import lived
from tests.simulation.process import Process, work_of
from tests.simulation.world import World

LIVES = 6
STEPS = 4_000


class Operation:
    """From its claim to the switch, one thing at a time. Whatever it asks for, it asks once."""

    def __init__(self, kafka: Kafka, chance: random.Random) -> None:
        self.kafka, self.chance = kafka, chance
        self.epoch = kafka.initialise(RECORDER)
        self.number = f"claim-{self.epoch}"
        self.patience = chance.choice((20, 200, 2_000))
        self.has_asked = self.has_lifted = self.has_switched = False

    def act(self) -> bool:
        """Whether it goes on."""
        if self.has_lifted:
            return False
        if not self.has_asked:
            lease_ms = self.chance.choice((500, 4_000, 20_000))
            self.has_asked = self._write(PauseRecord(number=self.number, lease_ms=lease_ms))
            return self.has_asked
        told = [one for one in self.kafka.operations if isinstance(one, PlanRecord)]
        state = told[-1].pause if told else ("", "")
        self.patience -= 1
        if state == (self.number, "holds") and self.chance.random() < 0.2:
            return self._switch()
        if self.patience < 0:
            self.has_lifted = self._write(PauseRecord(number=self.number, is_over=True))
            return False
        return state != (self.number, "lapsed")

    def _switch(self) -> bool:
        """The layout, and the end of the pause, in one transaction."""
        if self._write(PauseRecord(number=self.number, is_over=True)):
            self.kafka.layout += 1
            self.has_switched = True
        return False

    def _write(self, record: PauseRecord) -> bool:
        if not self.kafka.is_valid(RECORDER, self.epoch):
            return False
        self.kafka.operations.append(record)
        return True


class Switching(World):
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"switches {seed}")
        self.operations: list[Operation] = []
        self.switches = self.lapses = 0
        self.moving: list[Process] = []
        super().__init__(seed)
        # A target of the former layout leads the next controller nowhere.
        self.release = self.dice

    def _work(self) -> Work:
        layout = Layout(self.kafka.layout)
        made = work_of(self.standbys, Shape((f"layout {layout}",)), 1 + layout % 2)
        return replace(made, layout=layout)

    def step(self) -> None:
        if not self.is_quiet:
            self._operate()
        super().step()
        for process in self.processes:
            if process.is_alive and process not in self.moving and self._begins_anew(process):
                process.is_leaving = True
                self.moving.append(process)
        for process in [one for one in self.moving if not one.is_alive]:
            self.moving.remove(process)
            if process.worker not in {one.worker for one in self._alive()}:
                self._start(process.worker)

    def _operate(self) -> None:
        if self.dice.random() < 0.01 and len(self.operations) < 3:
            self.operations.append(Operation(self.kafka, self.dice))
        if self.operations and self.dice.random() < 0.3:
            one = self.dice.choice(self.operations)
            if not one.act() or self.dice.random() < 0.01:
                self.switches += one.has_switched
                self.operations.remove(one)

    def _begins_anew(self, process: Process) -> bool:
        """Whether it reads the record now, or was refused by those who have."""
        is_former = process.work.layout != self.kafka.layout
        hears = is_former and process.is_running and self.dice.random() < 0.01
        is_refused = isinstance(process.seat.failure, TopologyChangedError)
        return process.is_leaving or hears or is_refused

    def _is_well(self) -> bool:
        kept = [one.kept for one in self._alive()]
        self.lapses = max(self.lapses, sum(bool(each.resumed) for each in kept))
        is_current = all(one.work.layout == self.kafka.layout for one in self._alive())
        return (
            super()._is_well()
            and is_current
            and not self.moving
            and not any(each.number for each in kept)
        )


def live(seed: int) -> Switching:
    return lived(Switching(seed), STEPS)


def live_all(seeds: Iterable[int]) -> list[Switching]:
    return [live(seed) for seed in seeds]


@pytest.mark.slow
def test_nobody_processes_under_a_former_layout() -> None:
    worlds = live_all(range(LIVES))
    for world in worlds:
        assert {one.work.layout for one in world._alive()} == {world.kafka.layout}
    assert sum(world.switches for world in worlds) > LIVES


def holds_at_once(patch: pytest.MonkeyPatch) -> None:
    """The operation is told so before all have committed."""

    def look(pause: Pause, _workers: object) -> bool:
        is_news = pause.state == "asked"
        pause.state = "holds" if is_news else pause.state
        return is_news

    patch.setattr(Pause, "look", look)


def carried_once(patch: pytest.MonkeyPatch) -> None:
    """Who is granted a task later does not hear of it."""

    def carried(pause: Pause) -> tuple[str, int]:
        return (pause.number, pause.lease_ms) if pause.state == "asked" else ("", 0)

    patch.setattr(Pause, "carried", property(carried))


def ended_unasked(patch: pytest.MonkeyPatch) -> None:
    """A worker goes on once the lease is over, by its clock."""
    plain = KeptPause.look

    def look(kept: KeptPause, carried: str, now_ms: int) -> str:
        due = plain(kept, carried, now_ms)
        if due == "end":
            kept.end()
        return "go on" if due == "end" else due

    patch.setattr(KeptPause, "look", look)


def ended_unfenced(patch: pytest.MonkeyPatch) -> None:
    """The controller looks which layout is recorded, and whoever asked may record one after it."""
    patch.setattr(Pause, "ending", property(lambda pause: EndPause(pause.number, fences=False)))


def lifted_unseen(patch: pytest.MonkeyPatch) -> None:
    """The operation has ended it, and nobody looks whether by a switch."""
    plain = Pause.hear

    def hear(pause: Pause, request: PauseRecord, now_ms: int) -> bool:
        is_news = plain(pause, request, now_ms)
        pause.state = "lifted" if pause.state == "ending" else pause.state
        return is_news

    patch.setattr(Pause, "hear", hear)


# One life each that notices it soon, or one of those that follow.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "first"),
    [
        (holds_at_once, 8),
        (carried_once, 3),
        (ended_unasked, 3),
        (ended_unfenced, 57),
        (lifted_unseen, 1),
    ],
)
def test_a_broken_rule_is_noticed(
    broken: Callable[[pytest.MonkeyPatch], None], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    with pytest.raises(AssertionError, match="processes under layout"):
        live_all(range(first, first + 60))
