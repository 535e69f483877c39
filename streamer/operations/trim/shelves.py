"""What a repository has of one task, as a trim needs it: positions, verification, and who keeps
what. Whatever cannot be read is told as not known, since it may be what a restore needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from streamer.errors import RepositoryError, SnapshotError, SnapshotMissingError
from streamer.ids import TopicPartition
from streamer.operations.trim.facts import Keeper, ShelfSeen, Snapshot, Unknown
from streamer.snapshot import claims
from streamer.snapshot.claims import Hold, Lease
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Entry, Shelf
from streamer.snapshot.verified import Level, verified

__all__ = ["HOLD_PREFIX", "not_known", "read_shelf"]

HOLD_PREFIX = "trim."
"""Holds of trims keep snapshots from prunes, and lift no floor: the next trim replaces them."""

# A trim rests on the newest ones; a manifest of a large state has megabytes.
_READ_MAX = 20


def not_known(address: str, error: Exception) -> ShelfSeen:
    """Nothing is known of a task's snapshots."""
    return ShelfSeen(
        unknown=Unknown(
            f"the repository {address}",
            f"it does not tell which snapshots there are: {error}",
            "mend what it says, and look again",
        )
    )


def read_shelf(repository: Repository, shelf: Shelf, *, now_ms: int, wall_ms: int) -> ShelfSeen:
    """All of one task. `now_ms` is the repository's time, `wall_ms` this host's."""
    try:
        return ShelfSeen(tuple(_snapshots(shelf, repository, now_ms=now_ms, wall_ms=wall_ms)))
    except (RepositoryError, SnapshotError) as error:
        return not_known(repository.address, error)


def _snapshots(
    shelf: Shelf, repository: Repository, *, now_ms: int, wall_ms: int
) -> Iterator[Snapshot]:
    # Who keeps what before what there is: a restore that begins in between is not missed, since its
    # lease is there before it reads, and what is listed later is newer.
    keepers = _keepers(shelf, now_ms=now_ms, claim_ms=repository.claim_ms)
    condemned = {mark.name for mark in shelf.marks() if mark.kind == "snapshot"}
    levels = verified(shelf)
    entries = shelf.entries()
    newest = {entry.stem for entry in entries[-_READ_MAX:]}
    for entry in entries:
        if entry.stem not in newest and entry.stem not in keepers:
            continue
        found = _snapshot(
            shelf,
            entry,
            levels,
            is_condemned=entry.stem in condemned,
            keepers=tuple(keepers.get(entry.stem, ())),
            clocks=(now_ms, wall_ms),
        )
        if found is not None:
            yield found


def _snapshot(
    shelf: Shelf,
    entry: Entry,
    levels: Mapping[str, Level],
    *,
    is_condemned: bool,
    keepers: tuple[Keeper, ...],
    clocks: tuple[int, int],
) -> Snapshot | None:
    try:
        manifest = shelf.manifest(entry.stem)
    except SnapshotMissingError:
        return None  # removed since it was listed
    except SnapshotError as error:
        return Snapshot(
            entry.stem, is_condemned=is_condemned, keepers=keepers, problem=error.message
        )
    if manifest is None:
        return None
    now_ms, wall_ms = clocks
    places = {TopicPartition(one.topic, one.partition): one for one in manifest.changelog}
    return Snapshot(
        entry.stem,
        positions={place: one.position for place, one in places.items()},
        topic_ids={place: one.topic_id for place, one in places.items()},
        level=levels.get(entry.stem, ""),
        age_ms=max(now_ms - entry.modified_ms, wall_ms - manifest.created_ms, 0),
        created_ms=manifest.created_ms,
        is_condemned=is_condemned,
        keepers=keepers,
    )


def _keepers(shelf: Shelf, *, now_ms: int, claim_ms: int) -> dict[str, list[Keeper]]:
    """By snapshot, who reads or holds it; without the holds of trims."""
    found: dict[str, list[Keeper]] = defaultdict(list)
    for claim in claims.seen(shelf, "leases"):
        if not claim.is_live(now_ms, claim_ms):
            continue
        try:
            said = claims.read(claims.note(shelf, "leases", claim.name), Lease, shelf)
        except SnapshotMissingError:
            continue
        since = shelf.backend.stat(f"{shelf.root}leases/{claim.name}/note")
        found[said.stem].append(
            Keeper(
                f"a restore by {said.holder}",
                f"it reads snapshot {said.stem.partition('-')[2][:12]}",
                "its end, or 15 minutes without a sign of life",
                since.modified_ms if since else 0,
            )
        )
    for stem, held in claims.holds(shelf).items():
        found[stem] += [_held(stem, one) for one in held if not one.name.startswith(HOLD_PREFIX)]
    return found


def _held(stem: str, hold: Hold) -> Keeper:
    return Keeper(
        f"hold {hold.name} of {hold.holder or 'somebody'}",
        f"it keeps snapshot {stem.partition('-')[2][:12]}: {hold.reason}",
        f"its release, by the same name: {hold.name}",
        hold.created_ms,
    )
