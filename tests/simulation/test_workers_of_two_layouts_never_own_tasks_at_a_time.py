"""A layout is recorded while workers run, are killed and come back: each reads it when it does.

Those that have read it close their tasks and begin anew. No task of one layout is ever owned beside
one of the other, and in the end all tasks of the new one are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from streamer import App
from streamer.cluster import work
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.errors import TopologyChangedError
from streamer.layout import ApplicationLayout
from streamer.topology.partitions import partitions
from streamer.topology.shape import shape_of
from tests.simulation.lives import lived
from tests.simulation.process import Process, work_of
from tests.simulation.world import World

LIVES = 4
# Of the first forty lives, these show what happens where layouts do not tell workers apart.
NOTICING = (16, 39, 26)
STEPS = 3_000
RECORDED_AT = 1_200


def layouts() -> tuple[App, ApplicationLayout, ApplicationLayout]:
    """Eight tasks in two subtopologies, of which the one with state is folded to two."""
    app = App("app")
    app.stream("plain", key=str, value=int).to("out")
    app.stream("in", key=str, value=int).group_by_key().count(store="counts")
    first = partitions(app.topology(), {"plain": 4, "in": 4}).layout
    return app, first, first.folded({1: 2})


class Switching(World):
    def __init__(self, seed: int) -> None:
        self.app, first, self.second = layouts()
        self.recorded = first
        self.readings = random.Random(f"readings {seed}")
        self.moving: list[Process] = []
        self.moved: list[Process] = []
        super().__init__(seed)
        # A target of the former layout leads the next controller nowhere.
        self.release = self.readings

    def _work(self) -> Work:
        config = Config(application_id="app", bootstrap_servers="127.0.0.1:9")
        real = Work.of(self.app.topology(), self.recorded.tasks, config, layout=self.recorded)
        policy = work_of(self.standbys, real.shape, 2).policy
        return replace(real, policy=policy)

    def step(self) -> None:
        if self.steps >= RECORDED_AT:
            self.recorded = self.second
        super().step()
        if self.recorded is not self.second:
            return
        for process in self.processes:
            if process not in self.moved and self._moves(process):
                process.is_leaving = True
                self.moving.append(process)
                self.moved.append(process)
        for process in [one for one in self.moving if not one.is_alive]:
            self.moving.remove(process)
            # It reads the record before anything else.
            if process.worker not in {one.worker for one in self._alive()}:
                self._start(process.worker)

    def _moves(self, process: Process) -> bool:
        """Whether it reads the record now, or was refused by those who have."""
        is_former = process.work.layout != self.recorded.number
        reads = is_former and process.is_running and self.readings.random() < 0.002
        return reads or isinstance(process.seat.failure, TopologyChangedError)

    def _check(self) -> None:
        super()._check()
        owning = [one for one in self.processes if one.owned and not one.is_fenced]
        numbers = {one.work.layout for one in owning}
        assert len(numbers) <= 1, f"layouts {numbers} own tasks at a time: {self.describe()}"


def live(seed: int) -> Switching:
    return lived(Switching(seed), STEPS)


def live_all(seeds: Iterable[int]) -> list[Switching]:
    return [live(seed) for seed in seeds]


@pytest.mark.slow
def test_no_task_of_one_layout_is_owned_beside_one_of_the_other(
    request: pytest.FixtureRequest,
) -> None:
    seed = request.config.getoption("--seed", default=None)
    rounds = request.config.getoption("--rounds", default=None) or LIVES
    for world in live_all(range(rounds) if seed is None else (seed,)):
        owned = {task for one in world._alive() for task in one.owned}
        assert owned == set(world.second.tasks)
        assert len(owned) == 6


def test_it_is_noticed_where_layouts_do_not_tell_workers_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "shape_of", lambda topology, _layout: shape_of(topology))
    with pytest.raises(AssertionError, match=r"own tasks at a time|is owned by"):
        live_all(NOTICING)
