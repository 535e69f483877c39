"""With which snapshots a replay begins: those of a time, if the input still goes on behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from streamer.config import Config
from streamer.errors import OperationRefusedError, SnapshotNeededError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.seeds import SeedRecord
from streamer.operations.replay import beginning as module
from streamer.operations.replay.beginning import (
    Beginning,
    choose_beginning,
    first_hint,
    first_possible_ms,
)
from streamer.operations.replay.interval import for_interval
from streamer.operations.replay.request import ask_again
from streamer.snapshot.manifest import Manifest, Position
from streamer.topology.interval import Interval
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, counting, planned
from tests.unit.operations.replay.rig import totals

IDS = iter(range(1, 1_000))


def manifest(task: int, at_ms: int, position: int, *, layout: int = 1, **given: Any) -> Manifest:
    number = next(IDS)
    suffix = "" if layout == 1 else f".layout-{layout}"
    known = {
        "version": 1,
        "id": f"{number:032x}",
        "sequence": number,
        "application": NAME,
        "task": f"0_{task}",
        "layout": layout,
        "created_ms": at_ms,
        "created_by": "w",
        "store_format": "1",
        "stores": {"totals": "key-value"},
        "changelog": [Position(f"{NAME}-totals-changelog{suffix}", task, 5)],
        "input": [Position(INPUT, task, position)],
        "files": [],
    }
    return Manifest(**{**known, **given})


class Shelf:
    def __init__(self, task: int, layout: int, manifests: list[Manifest]) -> None:
        self.task = TaskId(0, task)
        self.layout = layout
        self.manifests = manifests


class Repository:
    """Each task has these, newest first."""

    address = "file:///snapshots"

    def __init__(self, **made: list[Manifest]) -> None:
        self.made = made

    def shelves(self, application: str) -> list[Shelf]:
        assert application == NAME
        found = []
        for name, manifests in self.made.items():
            task, layout = name.removeprefix("t").split("_")
            found.append(Shelf(int(task), int(layout), manifests))
        return found

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def choose(
        repository: Repository,
        at_ms: int,
        *,
        bounds: Mapping[int, Bounds] | None = None,
        layout: ApplicationLayout | None = None,
        is_current: bool = False,
    ) -> Beginning:
        monkeypatch.setattr(module, "open_repository", lambda *_given: repository)
        monkeypatch.setattr(module, "readable", lambda shelf: iter(shelf.manifests))
        monkeypatch.setattr(module, "stored_times", lambda *_given: {})
        config = Config(
            application_id=NAME,
            bootstrap_servers="127.0.0.1:9",
            snapshot_repository="file:///snapshots",
        )
        holds = layout or planned(totals(), 2).layout
        known = {0: Bounds(0, 100), 1: Bounds(0, 100), **(bounds or {})}
        found: list[Beginning] = []

        def base(plans: Any) -> Beginning:
            places = {TopicPartition(INPUT, number): one for number, one in known.items()}
            found.append(
                choose_beginning(
                    config, plans, holds, at_ms=at_ms, bounds=places, is_current=is_current
                )
            )
            return found[-1]

        ask_again(totals().topology(), holds, number="replay-1", base=base)
        return found[-1]

    return choose


def test_state_as_it_is_has_the_layout_that_holds_and_no_other(chosen: Any) -> None:
    holds = planned(totals(), 2).layout.rebuilt()
    before = {"t0_1": [manifest(0, 100, 10)], "t1_1": [manifest(1, 100, 10)]}
    assert len(chosen(Repository(**before), 500, layout=holds).seeds) == 2
    with pytest.raises(SnapshotNeededError, match="of its state in the layout that holds") as told:
        chosen(Repository(**before), 500, layout=holds, is_current=True)
    assert "streamer snapshot create" in told.value.hint
    now = {f"t{n}_2": [manifest(n, 400, 40, layout=2)] for n in range(2)}
    found = chosen(Repository(**before, **now), 500, layout=holds, is_current=True)
    assert {one.layout for one in found.seeds.values()} == {2}


SEED = SeedRecord(
    repository="file:///snapshots", layout=1, stem="one", positions={}, as_of_ms=1, bytes=1
)
OLDER = SeedRecord(
    repository="file:///snapshots", layout=1, stem="none", positions={}, as_of_ms=0, bytes=1
)
INTERVAL = Interval(1_000, 2_000, ("hourly",))
PLACE, OTHER = TopicPartition(INPUT, 0), TopicPartition(INPUT, 1)


def snapshots(newest: int, oldest: int | None) -> Any:
    """Of two subtopologies, the first of which has the windows; no older ones without `oldest`."""
    asked: list[tuple[list[str], bool]] = []

    def choose(plans: Any, *, at_ms: int, is_current: bool = False) -> Beginning:
        names = [one.stores[0].name for one in plans]
        asked.append((names, is_current))
        if not is_current and oldest is None:
            raise OperationRefusedError("none that old", hint="")
        assert is_current or at_ms == INTERVAL.from_ms
        seed, at = (SEED, newest) if is_current else (OLDER, oldest or 0)
        known = {"hourly": ("0_0", PLACE), "totals": ("1_0", OTHER)}
        return Beginning(
            {known[name][0]: seed for name in names}, {known[name][1]: at for name in names}
        )

    return choose, asked


def begun(newest: int, oldest: int | None, *, is_whole: bool) -> tuple[Beginning, Any]:
    choose, asked = snapshots(newest, oldest)
    plans: Any = [
        SimpleNamespace(stores=[SimpleNamespace(name=name)]) for name in ("hourly", "totals")
    ]
    wholes: list[Any] = []

    def looks(places: Any) -> bool:
        wholes.append(set(places))
        return is_whole

    found = for_interval(choose, INTERVAL, plans, is_whole=looks)
    assert wholes in ([], [{PLACE}]), "what else is read need not be whole"
    return found, asked


def test_an_interval_has_the_newest_rows_and_windows_that_were_there_at_its_begin() -> None:
    found, asked = begun(9, 4, is_whole=False)
    assert asked == [(["hourly"], True), (["totals"], True), (["hourly"], False)], "each once"
    assert found == Beginning(
        {"0_0": SEED, "1_0": SEED},
        {PLACE: 4, OTHER: 9},
        former={"0_0": OLDER},
        until={PLACE: 9, OTHER: 9},
    )


def test_one_older_than_all_snapshots_begins_with_the_input_where_that_is_whole() -> None:
    found, _asked = begun(9, None, is_whole=True)
    assert found == Beginning(
        {"0_0": SEED, "1_0": SEED}, {PLACE: 0, OTHER: 9}, until={PLACE: 9, OTHER: 9}
    )
    with pytest.raises(OperationRefusedError, match="none that old"):
        begun(9, None, is_whole=False)


def test_positions_that_were_set_back_in_between_are_refused() -> None:
    with pytest.raises(
        OperationRefusedError, match="was read to 12 when older snapshots were made"
    ):
        begun(9, 12, is_whole=False)


def test_the_newest_of_each_task_that_was_made_by_then(chosen: Any) -> None:
    repository = Repository(
        t0_1=[manifest(0, 300, 30), manifest(0, 200, 20), manifest(0, 100, 10)],
        t1_1=[manifest(1, 250, 25), manifest(1, 150, 15)],
    )
    found = chosen(repository, 200)
    assert {str(place): at for place, at in found.begin.items()} == {"sales/0": 20, "sales/1": 15}
    assert {task: one.as_of_ms for task, one in found.seeds.items()} == {"0_0": 200, "0_1": 150}
    assert found.seeds["0_0"].positions == {"totals": 5}


def test_what_the_input_has_lost_is_told_with_the_first_time_that_will_do(chosen: Any) -> None:
    repository = Repository(
        t0_1=[manifest(0, 2_000, 60), manifest(0, 1_000, 20)], t1_1=[manifest(1, 500, 5)]
    )
    with pytest.raises(OperationRefusedError) as refused:
        chosen(repository, 1_500, bounds={0: Bounds(40, 100)})
    assert "task 0_0 has no snapshot in file:///snapshots that was made by 1970-01-01T00:00:01" in (
        refused.value.message
    )
    assert "stands at 20 of sales/0, which begins at 40 by now" in refused.value.message
    assert refused.value.hint == "the first time that will do is --from 1970-01-01T00:00:02+00:00"
    with pytest.raises(OperationRefusedError, match="there is none that old"):
        chosen(repository, 100)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"stores": {"totals": "window"}}, "has other stores"),
        ({"input": [Position(INPUT, 0, 1), Position(INPUT, 1, 1)]}, "read other partitions"),
        ({"input": [Position(INPUT, 0, 101)]}, "which ends at 100"),
    ],
)
def test_one_that_cannot_be_gone_on_from_is_passed_over(
    chosen: Any, given: dict[str, Any], why: str
) -> None:
    other = manifest(0, 300, 30, **given)
    good = manifest(0, 100, 10)
    rest = {"t1_1": [manifest(1, 100, 10)]}
    found = chosen(Repository(t0_1=[other, good], **rest), 400)
    assert found.begin[TopicPartition(INPUT, 0)] == 10
    with pytest.raises(OperationRefusedError, match=why):
        chosen(Repository(t0_1=[other], **rest), 400)


def test_those_of_a_former_layout_with_the_same_tasks_will_do(chosen: Any) -> None:
    layout = planned(totals(), 2).layout.rebuilt()
    repository = Repository(
        t0_1=[manifest(0, 100, 10)],
        t0_2=[manifest(0, 300, 30, layout=2)],
        t1_1=[manifest(1, 100, 10)],
    )
    found = chosen(repository, 400, layout=layout)
    assert {task: one.layout for task, one in found.seeds.items()} == {"0_0": 2, "0_1": 1}
    assert found.seeds["0_0"].positions == found.seeds["0_1"].positions == {"totals": 5}
    assert {
        task: one.layout for task, one in chosen(repository, 200, layout=layout).seeds.items()
    } == {
        "0_0": 1,
        "0_1": 1,
    }


def test_what_tasks_send_to_each_other_is_in_no_snapshot() -> None:
    with pytest.raises(
        OperationRefusedError, match="subtopology 1 reads a topic of the application"
    ):
        ask_again(
            counting().topology(),
            planned(counting(), 2).layout,
            number="r",
            base=lambda _: Beginning(),
        )


def test_the_first_time_that_will_do_is_that_of_the_last_task_to_have_a_snapshot(
    chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(
        t0_1=[manifest(0, 300, 60), manifest(0, 200, 50), manifest(0, 100, 10)],
        t1_1=[manifest(1, 400, 40), manifest(1, 250, 25)],
    )
    chosen(repository, 400)
    [feed] = ask_again(totals().topology(), planned(totals(), 2).layout, number="r").feeds
    plan = msgspec.structs.replace(feed, target=feed.source)
    config = Config(
        application_id=NAME,
        bootstrap_servers="127.0.0.1:9",
        snapshot_repository="file:///snapshots",
    )
    places = {TopicPartition(INPUT, number): Bounds(40 * (1 - number), 100) for number in range(2)}
    layout = planned(totals(), 2).layout
    assert first_possible_ms(config, [plan], layout, bounds=places) == 250
    # In whole seconds, and never before it.
    assert first_hint(250) == "the first time that will do is --from 1970-01-01T00:00:01+00:00"
    places[TopicPartition(INPUT, 1)] = Bounds(50, 100)
    assert first_possible_ms(config, [plan], layout, bounds=places) is None
