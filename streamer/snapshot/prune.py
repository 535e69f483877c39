"""Removing snapshots and files that nobody needs, while others make and read snapshots.

Two rules make it safe at any interleaving; a model test tries them all:

- *Mark, look again, delete.* What is to go is marked first, and the claims are read after the mark.
  Who claims something (a pending snapshot, a lease, a hold) claims first and looks for marks after,
  and relies on nothing that is marked. So of the two at least one sees the other.
- *A mark is for ever, a name for once.* No mark is taken back and no name used twice, so a delete
by
  a process that slept for a day still hits only what was condemned.

Pending snapshots are read before committed ones: one that is committed in between is seen there. A
pending one without a sign of life is voided, in the place of its manifest, before its files may go.
Whatever cannot be read keeps everything that it might refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from streamer.errors import (
    ConfigError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMissingError,
)
from streamer.snapshot import claims
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.remote.api import Stored
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import VOID, Entry, Shelf
from streamer.snapshot.verified import Level, forget_verified, is_verified_as, verified

__all__ = ["Policy", "Pruned", "prune"]


_names_decoder = msgspec.json.Decoder(list[str])

_HOUR_MS = 3_600_000
# Far longer than any process stands still and goes on; what it would commit then is void.
VOID_MS = 30 * 24 * _HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which snapshots stay; `keep_verified` also of those that are verified as `level` or better,
    such as a trim rests on. `grace_ms` is how long files that nobody refers to are kept, for the
    next snapshot to find, and how long after their mark."""

    keep_last: int = 2
    keep_ms: int = 0
    keep_verified: int = 0
    level: Level = "contents"
    grace_ms: int = _HOUR_MS

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise ConfigError(
                f"{self.keep_last} snapshots cannot be kept: the newest whole one always stays",
                hint="keep 1 at least; an application that is no more has its directory or prefix"
                " removed by hand",
            )


@dataclass(slots=True)
class Pruned:
    """What was done, or would be."""

    shelf: str
    # Stem and the reason, in the order of commits.
    kept: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    voided: list[str] = field(default_factory=list)
    objects_marked: int = 0
    objects_deleted: int = 0
    bytes_marked: int = 0
    bytes_deleted: int = 0
    # What stands in the way, and of what.
    problems: list[str] = field(default_factory=list)


def prune(repository: Repository, shelf: Shelf, policy: Policy, *, dry_run: bool = True) -> Pruned:
    """Apply a policy to one task's snapshots; a dry run changes nothing and tells the same.

    Raises SnapshotDamagedError when a lease or a hold cannot be read.
    """
    return _Pruning(repository, shelf, policy, is_dry=dry_run).run()


class _Pruning:
    def __init__(
        self, repository: Repository, shelf: Shelf, policy: Policy, *, is_dry: bool
    ) -> None:
        self._repository = repository
        self._shelf = shelf
        self._policy = policy
        self._is_dry = is_dry
        self._now_ms = repository.now_ms()
        self._done = Pruned(str(shelf))
        # Whether one that can be restored from stays, whatever is deleted.
        self._has_whole = False

    def run(self) -> Pruned:
        self._end_dead_claims()
        entries, manifests = self._committed()
        surplus = self._surplus(entries, manifests)
        if not self._is_dry:
            for stem in surplus:
                self._shelf.condemn("snapshot", stem)
        self._delete_snapshots(surplus)
        if not self._is_dry:
            self._forget_notes()
        self._mark_objects()
        if not self._is_dry:
            self._now_ms = self._repository.now_ms()
            self._delete_objects()
        return self._done

    def _age_ms(self, modified_ms: int) -> int:
        return self._now_ms - modified_ms

    def _end_dead_claims(self) -> None:
        """Void pending snapshots that show no sign of life; remove what is left of claims."""
        for claim in claims.seen(self._shelf, "pending"):
            if claim.is_live(self._now_ms, self._repository.claim_ms):
                continue
            if claim.has_note and self._is_void(claim.name):
                self._done.voided.append(claim.name)
            if not self._is_dry:
                claims.remove(self._shelf, [claim])
        if not self._is_dry:
            dead = [
                claim
                for claim in claims.seen(self._shelf, "leases")
                if self._age_ms(claim.last_ms) > self._repository.claim_ms
            ]
            claims.remove(self._shelf, dead)

    def _is_void(self, stem: str) -> bool:
        """Put a void where the manifest would be; False where the snapshot was committed after all,
        which is then as it is."""
        key = self._shelf.snapshot_key(stem)
        if self._is_dry:
            return self._shelf.backend.stat(key) is None
        return self._shelf.write_document(key, VOID)

    def _committed(self) -> tuple[list[Entry], dict[str, Manifest]]:
        """All snapshots that are there; those whose manifest cannot be read are problems."""
        entries, manifests = [], {}
        for entry in self._shelf.entries():
            try:
                manifest = self._shelf.manifest(entry.stem)
            except SnapshotMissingError:
                continue
            except SnapshotError as error:
                self._done.problems.append(error.message)
                self._done.kept[entry.stem] = "its manifest cannot be read"
                continue
            if manifest is not None:
                entries.append(entry)
                manifests[entry.stem] = manifest
            elif self._age_ms(entry.modified_ms) > VOID_MS and not self._is_dry:
                self._shelf.backend.delete(self._shelf.snapshot_key(entry.stem))
        return entries, manifests

    def _surplus(self, entries: list[Entry], manifests: Mapping[str, Manifest]) -> list[str]:
        """The snapshots that the policy lets go."""
        objects = self._shelf.objects()
        held = claims.holds(self._shelf)
        leased = claims.leased(self._shelf, self._now_ms, self._repository.claim_ms)
        condemned = self._shelf.condemned("snapshot")
        entries = [entry for entry in entries if entry.stem not in condemned]
        sound = self._sound(entries, manifests, objects)
        surplus, whole = [], 0
        for entry in reversed(entries):
            reason = sound.get(entry.stem, "")
            if lacking := _lacking(manifests[entry.stem], objects):
                self._done.problems.append(f"{entry.stem} lacks {lacking} of its files")
            else:
                whole += 1
                if whole <= self._policy.keep_last:
                    reason = f"one of the newest {self._policy.keep_last}"
            if not whole:
                # Nothing newer can be restored from; who knows what can be saved of it.
                reason = "there is no newer one that is whole"
            elif self._age_ms(entry.modified_ms) < self._policy.keep_ms:
                reason = reason or "younger than asked for"
            if entry.stem in held:
                reason = "held: " + ", ".join(each.reason for each in held[entry.stem])
            elif entry.stem in leased:
                reason = f"read by {leased[entry.stem]}"
            if reason:
                self._done.kept[entry.stem] = reason
            else:
                surplus.append(entry.stem)
        self._has_whole = whole > 0
        return surplus[::-1]

    def _sound(
        self, entries: list[Entry], manifests: Mapping[str, Manifest], objects: Mapping[str, Stored]
    ) -> dict[str, str]:
        """The newest whole ones that are verified well enough, as the policy has it, and why."""
        count = self._policy.keep_verified
        if not count:
            return {}
        levels = verified(self._shelf)
        stems = [
            entry.stem
            for entry in reversed(entries)
            if is_verified_as(levels.get(entry.stem), self._policy.level)
            and not _lacking(manifests[entry.stem], objects)
        ]
        return dict.fromkeys(stems[:count], f"one of the newest {count} verified")

    def _delete_snapshots(self, surplus: Iterable[str]) -> None:
        """Those that are condemned, by this run or an earlier one, and that nobody claims."""
        marked = self._shelf.condemned("snapshot")
        marked.update(surplus)
        if not self._has_whole:
            self._done.waiting.update(dict.fromkeys(marked, "there is no other that is whole"))
            return
        held = claims.holds(self._shelf)
        leased = claims.leased(self._shelf, self._now_ms, self._repository.claim_ms)
        for stem in sorted(marked):
            if stem in held or stem in leased:
                self._done.waiting[stem] = "held" if stem in held else f"read by {leased[stem]}"
                continue
            if not self._is_dry:
                # The manifest first: without it nobody begins to read the files.
                self._shelf.backend.delete(self._shelf.snapshot_key(stem))
                self._shelf.backend.delete(self._shelf.mark_key("snapshot", stem))
            self._done.removed.append(stem)

    def _forget_notes(self) -> None:
        """Remove what was noted of snapshots that are gone. The notes are read first: a snapshot is
        noted only after it was committed, so one that is in the making loses none."""
        noted = verified(self._shelf)
        there = {entry.stem for entry in self._shelf.entries()}
        for stem in noted.keys() - there:
            forget_verified(self._shelf, stem)

    def _mark_objects(self) -> None:
        """Condemn what nobody refers to and the next snapshot has had time to find."""
        objects = self._shelf.objects()
        marked = self._shelf.condemned("object")
        referred = self._referred(without=self._done.removed if self._is_dry else ())
        if referred is None:
            return
        for name, stored in sorted(objects.items()):
            if name in marked or referred.covers(name):
                continue
            if self._age_ms(stored.modified_ms) < self._policy.grace_ms:
                continue
            if not self._is_dry:
                self._shelf.condemn("object", name)
            self._done.objects_marked += 1
            self._done.bytes_marked += stored.size

    def _delete_objects(self) -> None:
        """Delete what has been condemned for long enough and is still not referred to."""
        marks = [
            mark
            for mark in self._shelf.marks()
            if mark.kind == "object" and self._age_ms(mark.modified_ms) >= self._policy.grace_ms
        ]
        # After the marks were read: who refers to one of them has done so before it was marked.
        referred = self._referred()
        if referred is None or not marks:
            return
        objects = self._shelf.objects()
        for mark in marks:
            if referred.covers(mark.name):
                continue
            # The mark last: without it an object would look like any other.
            self._shelf.backend.delete(self._shelf.object_key(mark.name))
            self._shelf.backend.delete(self._shelf.mark_key("object", mark.name))
            if mark.name in objects:
                self._done.objects_deleted += 1
                self._done.bytes_deleted += objects[mark.name].size

    def _referred(self, without: Iterable[str] = ()) -> _Referred | None:
        """What pending and committed snapshots refer to; None where one of them cannot be read."""
        referred = _Referred()
        left_out = set(without)
        try:
            for claim in claims.seen(self._shelf, "pending"):
                if claim.has_note:
                    self._add_pending(referred, claim.name)
            for entry in self._shelf.entries():
                if entry.stem in left_out:
                    continue
                try:
                    manifest = self._shelf.manifest(entry.stem)
                except SnapshotMissingError:
                    continue  # deleted by another run
                if manifest is not None:
                    referred.names.update(manifest.objects)
        except SnapshotError as error:
            problem = f"no file is deleted while this cannot be read: {error.message}"
            if problem not in self._done.problems:
                self._done.problems.append(problem)
            return None
        return referred

    def _add_pending(self, referred: _Referred, stem: str) -> None:
        referred.owners.add(stem.partition("-")[2])
        try:
            raw = claims.note(self._shelf, "pending", stem)
        except SnapshotMissingError:
            return  # committed or given up since: what is committed is read after this
        try:
            referred.names.update(_names_decoder.decode(raw))
        except msgspec.DecodeError as error:
            raise SnapshotDamagedError(
                f"{self._shelf.backend.address}: the note of {stem} cannot be read: {error}"
            ) from error


@dataclass(slots=True)
class _Referred:
    """Names of objects, and ids of snapshots in the making, which own what they name."""

    names: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)

    def covers(self, name: str) -> bool:
        return name in self.names or name.partition("-")[2] in self.owners


def _lacking(manifest: Manifest, objects: Mapping[str, Stored]) -> int:
    """How many of a snapshot's objects are gone or have another size."""
    return sum(
        1
        for name, size in manifest.objects.items()
        if name not in objects or objects[name].size != size
    )
