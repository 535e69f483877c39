"""Which snapshots may be restored from: those after which the changelogs have everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamer.changelog.format import Positions
from streamer.errors import SnapshotMismatchError
from streamer.ids import TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.restore.usable import check_inside, check_usable, left_offsets
from streamer.snapshot.manifest import File, Manifest, Position

TOTALS = TopicPartition("spend-totals-changelog", 3)
HOURLY = TopicPartition("spend-hourly-changelog", 3)
NOW = 1_700_000_000_000
DAY_MS = 86_400_000
BOUNDS = {TOTALS: Bounds(500, 2_000, "id-1")}


def manifest(**changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "version": 1,
        "id": "a" * 32,
        "sequence": 1,
        "application": "spend",
        "task": "0_3",
        "layout": 1,
        "created_ms": NOW,
        "created_by": "worker-1",
        "store_format": "1",
        "stores": {"totals": "key_value"},
        "changelog": [Position(*TOTALS, 1_000, "id-1")],
        "input": [],
        "files": [File("CURRENT", 1, "b" * 64, "b" * 64 + "-" + "a" * 32, 1)],
        **changes,
    }
    return Manifest(**given)


def check(
    one: Manifest,
    bounds: dict[TopicPartition, Bounds] = BOUNDS,
    *,
    age_ms: int = 0,
    stored_ms: int = NOW,
) -> None:
    check_usable(
        one, bounds, kinds={"totals": "key_value"}, oldest_ms=NOW + age_ms, stored_ms=stored_ms
    )


def test_one_that_the_changelog_reaches_is_taken() -> None:
    check(manifest())
    assert left_offsets(manifest(), BOUNDS) == 1_000
    for at in (500, 2_000):
        check(manifest(changelog=[Position(*TOTALS, at)]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"changelog": [Position(*TOTALS, 499)]}, "which begins at 500: what lies between is gone"),
        ({"changelog": [Position(*TOTALS, 2_001)]}, "which ends at 2000: it has seen changes"),
        ({"changelog": [Position(*TOTALS, 1_000, "id-2")]}, "its id was id-2 and is id-1"),
        ({"changelog": [Position(*HOURLY, 1_000)]}, "the application has no such changelog"),
        ({"changelog": []}, "knows nothing of spend-totals-changelog/3, which begins at 500"),
        ({"stores": {"totals": "window"}}, "has totals as a window store"),
    ],
)
def test_others_are_refused_with_both_sides(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SnapshotMismatchError, match=why):
        check(manifest(**changes))


def test_a_store_that_was_added_since_is_read_from_the_begin_of_its_changelog() -> None:
    bounds = {**BOUNDS, HOURLY: Bounds(0, 50, "id-3")}
    check(manifest(), bounds)
    assert left_offsets(manifest(), bounds) == 1_050
    with pytest.raises(SnapshotMismatchError, match="knows nothing of spend-hourly-changelog/3"):
        check(manifest(), {**BOUNDS, HOURLY: Bounds(1, 50, "id-3")})


def test_an_old_one_is_good_while_nothing_came_after_it() -> None:
    check(manifest(), age_ms=0)
    with pytest.raises(SnapshotMismatchError, match=r"is 1\.0 days too old"):
        check(manifest(), age_ms=DAY_MS)
    check(manifest(changelog=[Position(*TOTALS, 2_000)]), age_ms=DAY_MS)


def test_the_maker_s_clock_makes_none_younger_than_its_place_in_the_repository() -> None:
    ahead = manifest(created_ms=NOW + 10 * DAY_MS)
    check(ahead, age_ms=DAY_MS, stored_ms=NOW + DAY_MS)
    with pytest.raises(SnapshotMismatchError, match=r"is 1\.0 days too old"):
        check(ahead, age_ms=DAY_MS, stored_ms=NOW)
    # A copy is stored long after the snapshot was made.
    with pytest.raises(SnapshotMismatchError, match=r"is 1\.0 days too old"):
        check(manifest(), age_ms=DAY_MS, stored_ms=NOW + DAY_MS)
    look(replace(INSIDE, as_of_ms=NOW + 10 * DAY_MS))
    with pytest.raises(SnapshotMismatchError, match=r"is 1\.0 days too old"):
        look(replace(INSIDE, as_of_ms=NOW + 10 * DAY_MS), stored_ms=NOW - DAY_MS)


INSIDE = Positions(changelogs={"totals": 1_000}, topic_ids={"totals": "id-1"}, as_of_ms=NOW)


def look(positions: Positions, oldest_ms: int = NOW, stored_ms: int = NOW) -> None:
    check_inside(
        "it",
        positions,
        {"totals": BOUNDS[TOTALS]},
        expected={"totals": 1_000},
        oldest_ms=oldest_ms,
        stored_ms=stored_ms,
    )


def test_what_is_inside_decides() -> None:
    look(INSIDE)
    look(replace(INSIDE, changelogs={"totals": 1_500}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"changelogs": {"totals": 999}}, "says that totals stands at 1000, and inside it stands"),
        ({"changelogs": {}}, "and inside it stands at 0"),
        ({"changelogs": {"totals": 2_001}}, "whose changelog has 500 to 2000"),
        ({"topic_ids": {"totals": "id-2"}}, "its id was id-2 and is id-1"),
        ({"as_of_ms": NOW - DAY_MS}, r"is 1\.0 days too old"),
    ],
)
def test_what_is_inside_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SnapshotMismatchError, match=why):
        look(replace(INSIDE, **changes))
