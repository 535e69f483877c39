"""Whether a snapshot can be restored from today: nothing that it lacks may be missing for good.

Looked at twice: by its manifest, before a byte is fetched, and by the positions inside of it,
before it takes the place of anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamer.changelog.format import Positions
from streamer.errors import SnapshotMismatchError
from streamer.ids import TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.snapshot.manifest import Manifest, check_positions

__all__ = ["check_inside", "check_usable", "left_offsets"]

_DAY_MS = 86_400_000


def check_usable(
    manifest: Manifest,
    bounds: Mapping[TopicPartition, Bounds],
    *,
    kinds: Mapping[str, str],
    oldest_ms: int,
    stored_ms: int,
) -> None:
    """Raise SnapshotMismatchError unless the changelogs have all that came after the snapshot.

    `bounds` are those of all changelogs of the task, `kinds` those of its stores; removals of rows
    that are older than `oldest_ms` may have left the changelogs. It is no younger than it says, and
    no younger than `stored_ms`: its maker's clock may be ahead.
    """
    check_positions(manifest, {place: (one.start, one.end) for place, one in bounds.items()})
    known = {TopicPartition(each.topic, each.partition): each for each in manifest.changelog}
    for place, bound in bounds.items():
        each = known.get(place)
        if each is None and bound.start > 0:
            raise SnapshotMismatchError(
                f"{manifest} knows nothing of {place}, which begins at {bound.start}: what was"
                " before is in no snapshot",
                hint="choose a newer snapshot, made since the store was added",
            )
        if each is not None and bound.topic_id and each.topic_id not in ("", bound.topic_id):
            raise SnapshotMismatchError(
                f"{manifest} stands at {each.position} of another topic than the {place} of today:"
                f" its id was {each.topic_id} and is {bound.topic_id}",
                hint="the topic was deleted and made anew, or it is another cluster's snapshot",
            )
    for store, kind in manifest.stores.items():
        if kinds.get(store, kind) != kind:
            raise SnapshotMismatchError(
                f"{manifest} has {store} as a {kind} store, and the topology now makes it a"
                f" {kinds[store]} store",
                hint="rows of one kind cannot be read as another; choose a newer snapshot",
            )
    as_of_ms = min(manifest.created_ms, stored_ms)
    _check_age(str(manifest), left_offsets(manifest, bounds), as_of_ms, oldest_ms)


def check_inside(
    what: str,
    positions: Positions,
    bounds: Mapping[str, Bounds],
    *,
    expected: Mapping[str, int],
    oldest_ms: int,
    stored_ms: int,
) -> None:
    """Raise SnapshotMismatchError unless the positions inside of a fetched database are as far as
    its manifest says, and can be continued from. `bounds` and `expected` are by store; the times
    are those of `check_usable`."""
    behind = 0
    for store, bound in bounds.items():
        at = max(positions.changelogs.get(store, 0), 0)
        if at < expected.get(store, 0):
            raise SnapshotMismatchError(
                f"{what} says that {store} stands at {expected.get(store, 0)}, and inside it stands"
                f" at {at}",
                hint="it was made wrong: choose another snapshot, and make a new one",
            )
        if not bound.start <= at <= bound.end:
            raise SnapshotMismatchError(
                f"{what} stands at {at} of {store}, whose changelog has {bound.start} to"
                f" {bound.end}",
                hint="choose a newer snapshot",
            )
        topic_id = positions.topic_ids.get(store, "")
        if at and topic_id and bound.topic_id and topic_id != bound.topic_id:
            raise SnapshotMismatchError(
                f"{what} is of another changelog of {store}: its id was {topic_id} and is"
                f" {bound.topic_id}",
                hint="the topic was deleted and made anew, or it is another cluster's snapshot",
            )
        behind += bound.end - at if at else 0
    if positions.as_of_ms >= 0:
        _check_age(what, behind, min(positions.as_of_ms, stored_ms), oldest_ms)


def left_offsets(manifest: Manifest, bounds: Mapping[TopicPartition, Bounds]) -> int:
    """What is to be read after the snapshot, in all changelogs of the task."""
    known = {TopicPartition(each.topic, each.partition): each for each in manifest.changelog}
    return sum(
        one.end - (known[place].position if place in known else one.start)
        for place, one in bounds.items()
    )


def _check_age(what: str, behind: int, as_of_ms: int, oldest_ms: int) -> None:
    """As for a state on a disk (decision 0010): the age is the state's, not that of its copy."""
    if behind and as_of_ms < oldest_ms:
        days = (oldest_ms - as_of_ms) / _DAY_MS
        raise SnapshotMismatchError(
            f"{what} is {days:.1f} days too old to be continued from: rows removed since may have"
            " left the changelog, and would come back",
            hint="choose a newer snapshot (delete.retention.ms of the changelog says how old it may"
            " be)",
        )
