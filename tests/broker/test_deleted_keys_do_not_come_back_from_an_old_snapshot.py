"""A snapshot that is older than removals stay in a compacted changelog is not used.

The compaction is Kafka's own: the tombstone of a removed key is really gone. That the key would
come back is shown first, by a restore that is told that tombstones stay for longer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from rocksdict import Checkpoint as RocksCheckpoint
from rocksdict import Options, Rdict

from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.ids import TaskId
from streamer.restore import Restorer
from streamer.restore.bootstrap import Bootstrap as One
from streamer.restore.bootstrap import Phase, Wanted
from streamer.restore.bootstraps import KafkaSurroundings
from streamer.snapshot.adopt import adopt
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Position
from streamer.snapshot.opening import open_repository
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from tests.broker.changelogs import (
    MIB,
    SPEC,
    Changelog,
    changelog_of,
    contents,
    numbered,
    restoring,
)
from tests.broker.conftest import Kafka, wait_until

TASK = TaskId(0, 0)
HOUR_MS = 3_600_000
REMOVED = b"k0000003"


@pytest.mark.usefixtures("eager_cleaner")
def test_it_is_refused_where_a_removed_key_would_come_back(
    kafka: Kafka, names: Any, tmp_path: Path
) -> None:
    topic = names.topic("changelog")
    changelog_of(
        kafka.create,
        topic,
        delete_retention_ms="0",
        min_cleanable_dirty_ratio="0.0",
        max_compaction_lag_ms="100",
        segment_ms="100",
    )
    log = Changelog(kafka.bootstrap_servers, topic)
    log.write(numbered(range(10)))
    config = Config(
        application_id=names.application[:60],
        bootstrap_servers=kafka.bootstrap_servers,
        snapshot_repository=f"file://{tmp_path}/repository",
    )
    snapshot(kafka, tmp_path, log, config)
    made_ms = time.time_ns() // 1_000_000
    log.write([(REMOVED, None)])
    fill_until_gone(kafka, log)
    # What decision 24 rests on: a begin above 0 means that records were deleted.
    assert kafka.requests.starts([log.place]) == {log.place: 0}, "compaction moves no begin"

    believing = bootstrap(config, log, tmp_path / "believing", delete_retention_ms=HOUR_MS)
    assert believing.phase is Phase.READY
    assert REMOVED in restored(config, believing, log), "else this test would prove nothing"

    age_ms = time.time_ns() // 1_000_000 - made_ms
    knowing = bootstrap(config, log, tmp_path / "knowing", delete_retention_ms=age_ms // 2)
    assert knowing.phase is Phase.CHOSEN, "the changelog has everything, and is read"
    refused = bootstrap(
        config, log, tmp_path / "refused", delete_retention_ms=age_ms // 2, source="file"
    )
    assert refused.phase is Phase.FAILED
    assert "days too old to be continued from: rows removed since may have" in str(refused.error)
    assert not (tmp_path / "refused").exists()


def test_a_copy_of_an_old_state_keeps_its_age(kafka: Kafka, names: Any, tmp_path: Path) -> None:
    """A manifest may be of today, and what is in it of last week."""
    topic = names.topic("changelog")
    changelog_of(kafka.create, topic)
    log = Changelog(kafka.bootstrap_servers, topic)
    log.write(numbered(range(10)))
    config = Config(
        application_id=names.application[:60],
        bootstrap_servers=kafka.bootstrap_servers,
        snapshot_repository=f"file://{tmp_path}/repository",
    )
    snapshot(kafka, tmp_path, log, config, as_of_ms=time.time_ns() // 1_000_000 - HOUR_MS)
    log.write([(REMOVED, None)])
    one = bootstrap(config, log, tmp_path / "new", delete_retention_ms=HOUR_MS // 2, source="file")
    assert one.phase is Phase.FAILED
    assert "days too old to be continued from" in str(one.error)


def snapshot(
    kafka: Kafka, tmp_path: Path, log: Changelog, config: Config, as_of_ms: int = 0
) -> None:
    """Of a task that has read all that is there."""
    with restoring(kafka.bootstrap_servers, tmp_path / "first") as tasks:
        _count, database = tasks.restore(log.place)
        position, topic_id = tasks.position(), tasks.stored().topic_ids["totals"]
        if as_of_ms:
            database.write({}, Positions(as_of_ms=as_of_ms).encode())
        tasks.close_database()
        path = database.directory
    raw = Options(raw_mode=True)
    families = {n: Options(raw_mode=True) for n in Rdict.list_cf(str(path), raw) if n != "default"}
    opened = Rdict(str(path), raw, column_families=families)
    checkpoint = RocksCheckpoint(opened)
    checkpoint.create_checkpoint(str(tmp_path / "checkpoint"))
    del checkpoint
    opened.close()
    about = About(
        created_ms=time.time_ns() // 1_000_000,
        stores={"totals": "key_value"},
        changelog=(Position(*log.place, position, topic_id),),
        input=(),
    )
    with open_repository(config) as repository:
        shelf = repository.shelf(config.application_id, TASK)
        create(repository, shelf, Checkpoint(tmp_path / "checkpoint"), about=about)


def fill_until_gone(kafka: Kafka, log: Changelog) -> None:
    """Write other keys until the broker has compacted the removal away, tombstone and all."""
    number = 0

    def is_gone() -> bool:
        nonlocal number
        number += 1
        log.write(numbered(range(100, 110), b"round-%d" % number))
        return all(one.key != REMOVED for one in kafka.read(log.place.topic))

    wait_until(is_gone, what="a compaction")


def bootstrap(
    config: Config,
    log: Changelog,
    target: Path,
    *,
    delete_retention_ms: int,
    source: str = "auto",
) -> One:
    pool = MemoryPool(16 * MIB, 16 * MIB)

    def look_inside(_task: TaskId, path: Path) -> Positions:
        database = TaskDatabase.open(path, (SPEC,), pool=pool, options={})
        try:
            return Positions.decode(database.metadata())
        finally:
            database.close()

    slow = Config(
        application_id=config.application_id,
        bootstrap_servers=config.bootstrap_servers,
        snapshot_repository=config.snapshot_repository,
        bootstrap_gain_ms=0,
        bootstrap_records_per_second=1,
    )
    around = KafkaSurroundings(slow, look_inside, delete_retention_ms=delete_retention_ms)
    wanted = Wanted(
        task=TASK,
        target=target,
        changelogs={"totals": log.place},
        kinds={"totals": "key_value"},
        local_offsets=None,
        source=source,
    )
    one = One(wanted, around)
    one.run()
    around.close()
    return one


def restored(config: Config, one: One, log: Changelog) -> dict[bytes, bytes]:
    """What a worker has in the end that believes the same."""
    assert one.fetched is not None
    target = one.wanted.target
    adopt(one.fetched.directory, target, now_ms=1)
    pool = MemoryPool(16 * MIB, 16 * MIB)
    database = TaskDatabase.open(target, (SPEC,), pool=pool, options={})
    restorer = Restorer(config, pool, delete_retention_ms=HOUR_MS)
    try:
        restorer.start(TASK, database, {"totals": log.place})
        ended: list[Any] = []
        wait_until(lambda: ended.extend(restorer.finished()) or ended, what="the restore")
        assert ended == [(TASK, None)]
        return contents(database)
    finally:
        restorer.close()
        database.close()
