"""With which snapshots feeds begin where changelogs were trimmed, and what is in them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.errors import OperationRefusedError, SnapshotDamagedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.operations.repartition.seeds import SeedRecord, SnapshotSeed, choose_seeds
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Position
from streamer.snapshot.opening import open_repository
from streamer.store.keys import row
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import asked

TASK = TaskId(0, 3)
CHANGELOG = "app-totals-changelog"
DAY_MS = 86_400_000
ROWS = {f"key-{number:02d}".encode(): row(7, b"%d" % number) for number in range(20)}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        application_id=NAME,
        bootstrap_servers="127.0.0.1:9",
        snapshot_repository=f"file://{tmp_path / 'repository'}",
    )


def made(config: Config, tmp_path: Path, at: int = 10, *, inside: int | None = None) -> str:
    """A snapshot of the task, which stands `at` an offset of its changelog; its name."""
    pool = MemoryPool(8 << 20, 8 << 20)
    directory = tmp_path / f"database-{at}"
    specs = [Store("totals", str, int).spec()]
    database = TaskDatabase.open(directory, specs, pool=pool, options={})
    positions = Positions(changelogs={"totals": at if inside is None else inside})
    database.write({"totals": list(ROWS.items())}, positions.encode())
    database.checkpoint(tmp_path / f"checkpoint-{at}")
    database.close()
    about = About(
        created_ms=at,
        stores={"totals": "key-value"},
        changelog=(Position(CHANGELOG, 3, at),),
        input=(),
    )
    with open_repository(config) as place:
        source = Checkpoint(tmp_path / f"checkpoint-{at}")
        return create(place, place.shelf(NAME, TASK), source, about=about).manifest.stem


def chosen(config: Config, starts: Mapping[int, int], now_ms: int = 20) -> dict[str, SeedRecord]:
    bounds = {
        TopicPartition(CHANGELOG, number): Bounds(starts.get(number, 0), 100) for number in range(4)
    }
    feeds = asked({0: 2}).feeds
    return choose_seeds(config, feeds, bounds, now_ms=now_ms, kept_ms=DAY_MS)


def test_a_task_whose_changelog_is_whole_needs_none(config: Config) -> None:
    assert chosen(config, {}) == {}


def test_it_is_the_newest_that_reaches_on_to_the_begin(config: Config, tmp_path: Path) -> None:
    made(config, tmp_path, 5)
    newest = made(config, tmp_path, 10)
    found = chosen(config, {3: 4})
    assert found.keys() == {"0_3"}
    assert (found["0_3"].stem, found["0_3"].positions) == (newest, {"totals": 10})
    assert found["0_3"].bytes > 0


@pytest.mark.parametrize(
    ("starts", "now_ms", "told"),
    [
        ({2: 1}, 20, "task 0_2 were trimmed, and no snapshot in .* reaches on .*: there is none"),
        ({3: 11}, 20, "task 0_3 were trimmed, and no snapshot in"),
        ({3: 4}, 3 * DAY_MS, "days too old to be continued from"),
    ],
)
def test_without_one_it_is_refused_with_the_reason(
    config: Config, tmp_path: Path, starts: dict[int, int], now_ms: int, told: str
) -> None:
    made(config, tmp_path)
    with pytest.raises(OperationRefusedError, match=told) as refused:
        chosen(config, starts, now_ms)
    assert "streamer snapshot create --task 0_" in refused.value.hint


def test_without_a_repository_it_is_refused(config: Config) -> None:
    bare = Config(application_id=NAME, bootstrap_servers="127.0.0.1:9")
    with pytest.raises(
        OperationRefusedError, match="of 1 tasks were trimmed, such as those of 0_3"
    ):
        chosen(bare, {3: 1})


def seeded(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SnapshotSeed:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    record = chosen(config, {3: 4})["0_3"]
    return SnapshotSeed(config, TASK, record, application=NAME)


def test_its_rows_come_by_their_keys_and_nothing_is_left(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(config, tmp_path)
    with seeded(config, tmp_path, monkeypatch) as seed:
        assert list((tmp_path / "temporary").iterdir()) == [], "not before it is asked for"
        for _again in range(2):
            blocks = list(seed.blocks("totals"))
            assert [key for block in blocks for key in block.keys] == sorted(ROWS)
            assert [each for block in blocks for each in block.rows] == [*ROWS.values()]
        assert list((tmp_path / "temporary").iterdir()) != []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_one_that_was_pruned_is_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = made(config, tmp_path)
    with seeded(config, tmp_path, monkeypatch) as seed:
        (found,) = (tmp_path / "repository").rglob(f"snapshots/{stem}")
        found.unlink()
        with pytest.raises(OperationRefusedError, match=r"is not in file://.* any more"):
            next(seed.blocks("totals"))


def test_one_that_stands_elsewhere_than_it_says_is_refused(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(config, tmp_path, inside=9)
    with (
        seeded(config, tmp_path, monkeypatch) as seed,
        pytest.raises(SnapshotDamagedError, match="totals stands at 10, and inside it stands at 9"),
    ):
        next(seed.blocks("totals"))
