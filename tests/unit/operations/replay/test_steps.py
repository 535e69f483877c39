"""Who waits for whom in a replay: what holds it up is told, and its workers end before it does."""

from __future__ import annotations

from msgspec.structs import replace

from streamer.control.operations import OperationRecord
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.replay.steps import is_over
from streamer.task.metadata import Metadata, marks
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT
from tests.unit.operations.replay.rig import ORIGIN, Based, Rereading


def begun(shop: Rereading) -> tuple[Executor, list[str], str]:
    """The operation planned, and what it is held up by, as it is told."""
    told: list[str] = []

    def notice(record: OperationRecord) -> None:
        told.extend(one.progress.held_by for one in record.steps if one.progress)

    table = FakeTable(shop.broker, NAME)
    executor = Executor(
        shop.config, table, shop.kinds(), clock=shop.clock, pulses=False, notice=notice
    )
    return executor, told, executor.propose("replay", shop.asked.plain()).id


def test_workers_that_are_missing_and_tasks_that_have_failed_are_told() -> None:
    shop = Rereading()
    executor, told, number = begun(shop)
    away = Away(shop)
    executor.start(number)
    assert away.looks > 8
    assert f"task 0_0 of {ORIGIN}, which does not run: streamer replay work" in "\n".join(told)
    assert f"task 0_0 of {ORIGIN}, which has failed on r: its log says why" in told


class Away:
    """Nobody reads again at first, and then somebody whose task fails, and stands."""

    def __init__(self, shop: Rereading) -> None:
        self.looks = 0
        self._read, self._others = shop._read_again, shop.others
        self._shop = shop
        shop._read_again = self.read  # type: ignore[method-assign]
        shop.others = self.others  # type: ignore[method-assign]

    def read(self) -> None:
        self.looks += 1
        if self.looks > 8:
            self._shop.failed = False
            self._read()

    def others(self, application: str) -> object:
        self._shop.failed = 4 < self.looks <= 8
        return {} if self.looks <= 4 else self._others(application)


def test_its_workers_are_needed_until_the_switch_and_not_while_it_is_taken_back() -> None:
    shop = Rereading()
    executor, _told, number = begun(shop)
    record = executor.books().operation(number)
    assert not is_over(record)
    assert is_over(replace(record, state="cancelling"))
    done = executor.start(number)
    assert is_over(done)
    steps = tuple(
        replace(step, state="done" if step.id == "switch" else "running") for step in done.steps
    )
    assert is_over(replace(done, state="running", steps=steps))
    steps = tuple(replace(step, state="running") for step in done.steps)
    assert not is_over(replace(done, state="running", steps=steps))


def test_where_it_begins_is_told_as_positions_whether_with_snapshots_or_not() -> None:
    for shop, at, known in ((Rereading(), 0, (-1, [])), (Based(), 1, (77, [70]))):
        shop._read_again = lambda: None  # type: ignore[method-assign]
        executor, _told, number = begun(shop)
        assert executor.start(number, until="base").state == "paused"
        found = shop.broker.groups[ORIGIN]
        assert {place.partition: one.position for place, one in found.items()} == {0: at, 1: at}
        for one in found.values():
            note = Metadata.decode(one.metadata)
            assert (note.stream_time_ms, list(note.times.values())) == known
            assert note.marks == marks([INPUT], shop.topology.subtopologies[0].stores)
