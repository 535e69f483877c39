"""A worker of a later layout: its topics, its directories, its shelves and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamer import App
from streamer.config import Config
from streamer.control.layouts import layout_record
from streamer.control.view import TaskInfo, lags_of
from streamer.errors import (
    LayoutChangedError,
    PartitionsChangedError,
    TopicMissingError,
)
from streamer.http.copies import Wish
from streamer.http.routing import Places
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.kafka.admin import TopicSpec
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.restore.bootstraps import KafkaSurroundings
from streamer.store.directory import WorkerDirectory
from streamer.task.build import input_partitions
from streamer.topology.partitioner import partition_of
from streamer.topology.partitions import partitions
from streamer.worker.layouts import check_record
from streamer.worker.topics import prepare
from streamer.worker.upkeep import Upkeep

TASK = TaskId(0, 1)


def app() -> App:
    made = App("shop")
    made.stream("in", key=str, value=int).group_by_key().count(store="counts")
    return made


FIRST = partitions(app().topology(), {"in": 12}).layout
SECOND = FIRST.folded({0: 3})


class Brokers:
    """An admin client of brokers with these topics."""

    def __init__(self, **counts: int) -> None:
        self.counts = dict(counts)
        self.asked: dict[str, int] = {}

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        if missing := [name for name in names if name not in self.counts]:
            raise TopicMissingError(", ".join(missing))
        return {name: self.counts[name] for name in names}

    def topic_settings(self, _topics: Sequence[str]) -> dict[str, dict[str, str]]:
        return {}

    def topics(self) -> dict[str, int]:
        return self.counts

    def committed(self, _group: str, _places: Sequence[TopicPartition]) -> dict[Any, int]:
        return {}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        self.asked |= {spec.name: spec.partitions for spec in specs}
        self.counts |= self.asked


def config(**settings: Any) -> Config:
    return Config(application_id="shop", bootstrap_servers="127.0.0.1:9", **settings)


def test_its_topics_are_made_beside_those_of_the_first() -> None:
    brokers: Any = Brokers(**{"in": 12, "shop-counts-changelog": 12})
    prepared = prepare(app().topology(), config(), brokers, layout=SECOND)
    assert brokers.asked == {"shop-counts-changelog.layout-2": 3}
    assert prepared.planned.tasks == (TaskId(0, 0), TaskId(0, 1), TaskId(0, 2))
    assert prepare(app().topology(), config(), brokers).planned.layout == FIRST
    brokers.counts["in"] = 24
    with pytest.raises(PartitionsChangedError, match="was built for in with 12 partitions"):
        prepare(app().topology(), config(), brokers, layout=SECOND)


def test_topics_that_were_grown_have_strays_topics_as_wide() -> None:
    grown = SubtopologyLayout(18, Layout(2), {"in": InputLayout(18)}, "grow")
    layout = ApplicationLayout(Layout(2), {0: grown})
    brokers: Any = Brokers(**{"in": 18})
    planned = prepare(app().topology(), config(), brokers, layout=layout).planned
    strays = "shop-in-strays.layout-2"
    assert brokers.asked == {"shop-counts-changelog.layout-2": 18, strays: 18}
    assert planned.repartition == {strays: 18}
    assert input_partitions(
        app().topology(), TaskId(0, 13), planned.sources, layout=planned.layout
    ) == (TopicPartition(strays, 13), TopicPartition("in", 13))
    check_record(app().topology(), layout, brokers)
    assert layout.folded({0: 9}).subtopologies[0].mode == "fold"


def test_its_directories_carry_the_layout_and_former_ones_stay(tmp_path: Path) -> None:
    with WorkerDirectory.open(tmp_path, "shop", worker_id="w1") as directory:
        former = directory.task(TASK)
        directory.layout = SECOND
        later = directory.task(TASK)
        assert (former.name, later.name) == ("0_1", "0_1.layout-2")
        assert directory.digests(TASK).name == "0_1.layout-2.digests"
        for path in (former, later):
            path.mkdir(parents=True)
            (path / "CURRENT").touch()
        assert [(one.task, one.layout) for one in directory.tasks()] == [(TASK, 1), (TASK, 2)]
        assert directory.put_aside(TASK, 17).name == "0_1.layout-2.old-17"
        assert former.exists()
        # A part that no change has touched keeps its own.
        directory.layout = SECOND.folded({})
        assert directory.task(TASK).name == "0_1.layout-2"
        assert directory.task(TaskId(1, 0)).name == "1_0"


def test_its_snapshots_are_on_the_shelf_of_the_layout(tmp_path: Path) -> None:
    around = KafkaSurroundings(
        config(snapshot_repository=f"file://{tmp_path}"),
        lambda _task, _path: None,  # type: ignore[arg-type, return-value]
        delete_retention_ms=1,
        layout=SECOND,
    )
    _repository, shelf = around.shelf("", TASK)
    assert shelf.layout == 2
    assert around.shelf("", TaskId(1, 0))[1].layout == 1
    around.close()


@pytest.mark.parametrize("by", ["murmur2", "consistent"])
def test_a_key_is_asked_for_where_its_records_are_read(by: Any) -> None:
    one = SubtopologyLayout(3, Layout(2), {"in": InputLayout(12, by)})
    serving: Any = SimpleNamespace(
        tasks=list,
        task_count=lambda _number: one.tasks,
        placing=lambda _number: (one.width, one.partitioner),
    )
    view: Any = SimpleNamespace(subtopology=0)
    places = Places(
        serving, view, wish=Wish(None), is_strict=False, is_silent=lambda _address: False
    )
    keys = [f"key-{number}".encode() for number in range(60)]
    for task, indexes in places.tasks_of(keys).items():
        for index in indexes:
            assert one.task_of(partition_of(keys[index], 12, by)) == task.partition


def test_the_lag_of_stopped_tasks_is_that_of_all_their_partitions() -> None:
    tasks = [
        TaskInfo(
            task=f"0_{number}",
            worker="",
            state="waiting",
            lag_records=None,
            restore_left_records=None,
            positions={},
            is_moving=False,
        )
        for number in range(3)
    ]
    behind = {TopicPartition("in", number): number for number in range(12)}
    found = lags_of(tasks, [], behind, layout=SECOND)
    assert found == {"0_0": 0 + 3 + 6 + 9, "0_1": 1 + 4 + 7 + 10, "0_2": 2 + 5 + 8 + 11}
    assert ApplicationLayout().task_count(0) == 0


def test_a_worker_without_a_cluster_looks_for_a_newer_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = app().topology()
    tasks: Any = SimpleNamespace(running=[])
    planned = partitions(made, {"in": 12})
    upkeep = Upkeep(made, planned, tasks=tasks, config=config(), follows_layout=True)
    recorded = [layout_record("shop", FIRST), layout_record("shop", SECOND)]
    monkeypatch.setattr("streamer.worker.upkeep.current_record", lambda *_: recorded.pop(0))
    upkeep._check_topics = lambda: None  # type: ignore[method-assign]
    upkeep._interval_s = 0.01
    upkeep.start()
    upkeep._thread.join(120)
    upkeep.close()
    assert isinstance(upkeep.failure, LayoutChangedError)
    assert recorded == []
