"""Snapshots by a schedule: one in each interval, and old ones go."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from streamer import metrics
from streamer.snapshot.verified import forget_verified, note_verified, verified
from tests.unit.worker.snapshotting import Host, Task, rows

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def test_the_schedule_makes_one_in_each_interval_and_removes_old_ones(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS, snapshot_keep_last=2)
    try:
        one = host.task(1)
        one.commit(rows(50))
        for count in range(1, 5):
            host.until(
                lambda wanted=count: (
                    host.snapshots._job is None and counted_ids(host, one) >= wanted
                )
            )
            for _ in range(50):
                host.turn()
            assert counted_ids(host, one) == count
            one.commit(rows(50, seed=count))
            host.clock.advance(HOUR_MS)
        left = host.manifests(one)
        assert [manifest.sequence for manifest in left] == [3, 4]
        assert sorted(verified(host.shelf(one.task))) == [manifest.stem for manifest in left]
        assert all(manifest.made_for == "" for manifest in left)
    finally:
        host.close()


def test_the_schedule_leaves_what_trims_rest_on(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS, snapshot_keep_last=1)
    try:
        one = host.task(1)
        for count in range(1, 5):
            one.commit(rows(50, seed=count))
            host.until(
                lambda wanted=count: (
                    host.snapshots._job is None
                    and host.manifests(one)
                    and host.manifests(one)[-1].sequence >= wanted
                )
            )
            if count == 1:
                note_verified(host.shelf(one.task), host.manifests(one)[0].stem, "contents")
            host.clock.advance(HOUR_MS)
        assert [manifest.sequence for manifest in host.manifests(one)] == [1, 4]
    finally:
        host.close()


def test_one_that_is_damaged_is_no_reason_to_make_no_other(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS)
    try:
        one = host.task(1)
        one.commit(rows(50))
        host.until(lambda: counted_ids(host, one) == 1 and host.snapshots._job is None)
        shelf = host.shelf(one.task)
        [first] = host.manifests(one)
        # As `streamer snapshot verify` does that finds it.
        forget_verified(shelf, first.stem)
        shelf.backend.delete(shelf.object_key(next(iter(first.objects))))
        one.commit(rows(50, seed=1))
        host.clock.advance(HOUR_MS)
        host.until(lambda: counted_ids(host, one) == 2 and host.snapshots._job is None)
        assert host.manifests(one)[-1].stem in verified(shelf)
    finally:
        host.close()


def counted_ids(host: Host, task: Task) -> int:
    """How many were ever made."""
    return max((entry.sequence for entry in host.shelf(task.task).entries()), default=0)


@pytest.mark.slow
def test_a_restart_does_not_begin_the_schedule_anew(tmp_path: Path) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS)
    try:
        one = host.task(1)
        one.commit(rows(50))
        host.until(lambda: counted_ids(host, one) == 1 and host.snapshots._job is None)
        host.snapshots.close()
        host.begin()
        for _ in range(100):
            host.turn()
            time.sleep(0.002)
        assert counted_ids(host, one) == 1
        age_s = metrics.REGISTRY.get_sample_value("streamer_snapshot_age_seconds", {"task": "0_1"})
        assert age_s is not None
        assert age_s < 3_600
    finally:
        host.close()


@pytest.mark.slow
@pytest.mark.parametrize("off_ms", [30 * DAY_MS, -30 * DAY_MS])
def test_a_maker_whose_clock_was_wrong_keeps_nobody_from_the_schedule(
    tmp_path: Path, off_ms: int
) -> None:
    host = Host(tmp_path, snapshot_interval_ms=HOUR_MS)
    try:
        one = host.task(1)
        one.commit(rows(50))
        right_ms = host.clock.now_ms()
        host.clock.jump_to(right_ms + off_ms)
        host.until(lambda: counted_ids(host, one) == 1 and host.snapshots._job is None)
        host.snapshots.close()

        def is_made(count: int) -> bool:
            return counted_ids(host, one) == count

        host.clock.jump_to(right_ms)
        host.begin()
        for count in (2, 3):
            host.clock.advance(HOUR_MS)
            host.until(partial(is_made, count))
        host.until(lambda: host.snapshots._job is None)
        for _ in range(50):
            host.turn()
        assert counted_ids(host, one) == 3
    finally:
        host.close()
