"""One bootstrap from begin to end: what it fetches, what it refuses, and what a cut leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.changelog.format import Positions
from streamer.clock import ManualClock
from streamer.errors import (
    KafkaUnavailableError,
    RepositoryUnavailableError,
    SnapshotMissingError,
    TaskCorruptedError,
)
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.restore.bootstrap import Bootstrap, Phase, Wanted
from streamer.restore.bootstraps import Bootstraps
from streamer.restore.choice import Rates, Way
from streamer.snapshot.adopt import staging_of
from streamer.snapshot.manifest import Position
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from tests.unit.snapshot.memory import MemoryBackend
from tests.unit.snapshot.rig import ABOUT, TASK, checkpoint, content, read, repository, snapshot

PLACE = TopicPartition("spend-totals-changelog", 3)
NOW = 1_700_000_000_000
WAIT_S = 80


class Around:
    """Surroundings in memory: three snapshots at 1000, 2000 and 3000 of a changelog."""

    def __init__(self, tmp_path: Path) -> None:
        self.backend = MemoryBackend()
        self.place = repository(self.backend)
        self.clock = ManualClock(NOW)
        self.rates = Rates(records_per_s=1, bytes_per_s=1 << 30, gain_s=0.0)
        self.delete_retention_ms = 86_400_000
        self.limits = Bounds(0, 10_000, "topic-id")
        self.refusal: Exception | None = None
        self.inside: Callable[[Path], Positions] = self._inside
        self.asked = 0
        self.target = tmp_path / "tasks" / "0_3"
        for number in (1, 2, 3):
            files = {"shared.sst": content(9_000, 0), f"{number}.sst": content(1_000, number)}
            at = Position(PLACE.topic, PLACE.partition, number * 1_000, "topic-id")
            about = replace(ABOUT, changelog=(at,), stores={"totals": "key_value"})
            snapshot(self.place, checkpoint(tmp_path / str(number), files), about=about)

    def bounds(self, places: list[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return dict.fromkeys(places, self.limits)

    def shelf(self, _address: str, task: TaskId) -> tuple[Repository, Shelf]:
        return self.place, self.place.shelf("spend", task)

    def positions(self, _task: TaskId, directory: Path) -> Positions:
        return self.inside(directory)

    def _inside(self, directory: Path) -> Positions:
        (number,) = (int(path.stem) for path in directory.glob("[123].sst"))
        return Positions(
            changelogs={"totals": number * 1_000}, topic_ids={"totals": "topic-id"}, as_of_ms=NOW
        )

    def wanted(self, local_offsets: int | None = None, source: str = "auto") -> Wanted:
        return Wanted(
            task=TASK,
            target=self.target,
            changelogs={"totals": PLACE},
            kinds={"totals": "key_value"},
            local_offsets=local_offsets,
            source=source,
        )

    def run(self, local_offsets: int | None = None, source: str = "auto") -> Bootstrap:
        one = Bootstrap(self.wanted(local_offsets, source), self)
        one.run()
        return one


@pytest.fixture
def around(tmp_path: Path) -> Around:
    return Around(tmp_path)


def test_the_newest_is_fetched_beside_the_database(around: Around) -> None:
    one = around.run()
    assert one.phase is Phase.READY
    assert one.choice is not None
    assert one.choice.way is Way.FULL
    assert one.fetched is not None
    assert one.fetched.manifest.sequence == 3
    assert set(read(staging_of(around.target) / "files")) >= {"CURRENT", "3.sst", "shared.sst"}
    assert not around.target.exists()
    assert one.progress.bytes_done == one.progress.bytes_total > 10_000


def test_what_an_old_directory_has_is_not_fetched(around: Around) -> None:
    around.target.mkdir(parents=True)
    (around.target / "shared.sst").write_bytes(content(9_000, 0))
    one = around.run()
    assert one.choice is not None
    assert one.choice.way is Way.DELTA
    assert one.fetched is not None
    assert one.fetched.moved_bytes < 2_000
    assert read(around.target) == {"shared.sst": content(9_000, 0)}


def test_a_short_tail_is_read_and_nothing_is_fetched(around: Around) -> None:
    one = around.run(local_offsets=5)
    assert one.phase is Phase.CHOSEN
    assert one.choice is not None
    assert one.choice.way is Way.TAIL
    assert not staging_of(around.target).exists()


def test_one_that_a_trim_has_passed_is_not_taken(around: Around) -> None:
    around.limits = Bounds(3_001, 10_000, "topic-id")
    one = around.run()
    assert one.phase is Phase.FAILED
    assert isinstance(one.error, SnapshotMissingError)
    assert "spend-totals-changelog/3 begins at 3001" in one.error.message
    assert "stands at 3000 of spend-totals-changelog/3, which begins at 3001" in one.error.message


DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("said_ms", "here_ms"),
    [
        pytest.param(NOW + 30 * DAY_MS, NOW + 2 * DAY_MS, id="its maker was ahead"),
        pytest.param(NOW, NOW - 30 * DAY_MS, id="this host is behind"),
        pytest.param(NOW, NOW + 2 * DAY_MS, id="all clocks are right"),
    ],
)
def test_a_wrong_clock_makes_no_snapshot_young_enough(
    around: Around, tmp_path: Path, said_ms: int, here_ms: int
) -> None:
    """Removals are kept for a day. By the clock of the repository it is two days old."""
    files = {"4.sst": content(1_000, 4)}
    at = Position(PLACE.topic, PLACE.partition, 4_000, "topic-id")
    about = replace(ABOUT, changelog=(at,), stores={"totals": "key_value"}, created_ms=said_ms)
    snapshot(around.place, checkpoint(tmp_path / "4", files), about=about)
    around.backend.disk.now_ms += 2 * DAY_MS
    around.clock.jump_to(here_ms)
    around.limits = Bounds(500, 10_000, "topic-id")
    one = around.run()
    assert one.phase is Phase.FAILED
    assert str(one.error).count("too old to be continued from") == 4
    assert not staging_of(around.target).exists()


@pytest.mark.parametrize("off_ms", [-3_600_000, 3_600_000])
def test_clocks_that_differ_a_little_cost_no_young_snapshot(around: Around, off_ms: int) -> None:
    around.clock.jump_to(NOW + off_ms)
    around.inside = lambda directory: replace(around._inside(directory), as_of_ms=NOW - off_ms)
    around.limits = Bounds(500, 10_000, "topic-id")
    one = around.run()
    assert one.phase is Phase.READY
    assert one.fetched is not None
    assert one.fetched.manifest.sequence == 3


def test_a_trim_during_the_fetch_is_noticed_before_anything_is_replaced(around: Around) -> None:
    def inside(directory: Path) -> Positions:
        around.limits = Bounds(3_500, 10_000, "topic-id")
        return around._inside(directory)

    around.inside = inside
    one = around.run()
    assert one.phase is Phase.FAILED
    assert "whose changelog has 3500 to 10000" in str(one.error)


def test_one_that_does_not_open_gives_way_to_the_one_before(around: Around) -> None:
    def inside(directory: Path) -> Positions:
        if (directory / "3.sst").exists():
            raise TaskCorruptedError("a block is damaged")
        return around._inside(directory)

    around.inside = inside
    one = around.run()
    assert one.phase is Phase.READY
    assert one.fetched is not None
    assert one.fetched.manifest.sequence == 2


def test_one_whose_inside_is_behind_its_manifest_is_refused(around: Around) -> None:
    around.inside = lambda _path: Positions(changelogs={"totals": 999}, as_of_ms=NOW)
    one = around.run(source="file")
    assert one.phase is Phase.FAILED
    assert "inside it stands at 999" in str(one.error)


def test_a_repository_that_is_away_leaves_the_changelog(around: Around) -> None:
    def away(_call: str, _key: str) -> None:
        raise RepositoryUnavailableError("no answer")

    around.backend.before = away
    one = around.run()
    assert one.phase is Phase.CHOSEN
    assert one.choice is not None
    assert one.choice.way is Way.CHANGELOG
    around.limits = Bounds(1, 10_000, "topic-id")
    one = around.run()
    assert one.phase is Phase.FAILED
    assert isinstance(one.error, RepositoryUnavailableError), "which is asked again"


def test_a_rebuild_from_the_changelogs_is_refused_where_they_were_trimmed(around: Around) -> None:
    assert around.run(source="changelog").phase is Phase.CHOSEN
    around.limits = Bounds(1, 10_000, "topic-id")
    one = around.run(source="changelog")
    assert one.phase is Phase.FAILED
    assert "neither from its changelogs (spend-totals-changelog/3 begins at 1)" in str(one.error)


def test_brokers_that_are_away_end_it(around: Around) -> None:
    around.refusal = KafkaUnavailableError("no answer")
    assert around.run().error is around.refusal


def test_a_mistake_is_told_and_not_waited_for(around: Around) -> None:
    around.refusal = RuntimeError("oops")
    one = around.run()
    assert one.phase is Phase.FAILED
    assert "RuntimeError: oops" in str(one.error)


def test_what_was_fetched_before_a_cut_is_used(around: Around) -> None:
    cut: list[Bootstrap] = []

    def stop(call: str, key: str) -> None:
        if call == "read" and "/objects/" in key:
            reads.append(key)
            if len(reads) == 2:
                cut[0].cancel()

    reads: list[str] = []
    around.backend.before = stop
    cut.append(Bootstrap(around.wanted(), around))
    cut[0].run()
    assert cut[0].phase is Phase.CANCELLED
    assert (staging_of(around.target) / "files" / "shared.sst").exists(), "the largest came first"
    around.backend.before = lambda _call, _key: None
    one = around.run()
    assert one.phase is Phase.READY
    assert one.fetched is not None
    assert one.fetched.moved_bytes < 2_000


def test_one_task_is_never_fetched_twice_at_a_time(around: Around) -> None:
    """Not even when the first one was cancelled, and hangs in a request."""
    goes_on, hangs = threading.Event(), threading.Event()

    def hang(call: str, key: str) -> None:
        if call == "read" and "/objects/" in key:
            hangs.set()
            assert goes_on.wait(WAIT_S)

    around.backend.before = hang
    with Bootstraps(around, parallel=2) as pool:
        first = pool.begin(around.wanted())
        assert hangs.wait(WAIT_S)
        pool.cancel(first)
        second = pool.begin(around.wanted())
        assert pool.is_busy(TASK)
        assert second.phase is Phase.WAITING
        goes_on.set()
        ended: list[Bootstrap] = []
        clock = threading.Event()
        for _ in range(WAIT_S * 100):
            ended += pool.ended()
            if ended:
                break
            clock.wait(0.01)
        assert ended == [second]
        assert second.phase is Phase.READY


def test_no_more_than_so_many_run(around: Around) -> None:
    running, most, goes_on = 0, 0, threading.Event()
    lock = threading.Lock()

    def count(places: list[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        goes_on.wait(0.05)
        with lock:
            running -= 1
        return dict.fromkeys(places, around.limits)

    around.bounds = count  # type: ignore[method-assign]
    with Bootstraps(around, parallel=2) as pool:
        made = [
            pool.begin(replace(around.wanted(local_offsets=1), task=TaskId(0, number)))
            for number in range(7)
        ]
        clock = threading.Event()
        ended: list[Bootstrap] = []
        for _ in range(WAIT_S * 100):
            ended += pool.ended()
            if len(ended) == len(made):
                break
            clock.wait(0.01)
    assert len(ended) == 7
    assert most == 2
