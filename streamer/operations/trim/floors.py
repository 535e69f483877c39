"""How far a changelog may be trimmed, and who holds it back: pure.

The floor of a partition is the least position of all who may need what comes after it: the newest
verified snapshots, each disk with a copy of the task, whatever reads or holds a snapshot. What is
not known holds everything back, under the name of what is not known. Of a holder that stands below
the log's start nothing can be kept any more: it is told, and holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamer.ids import TaskId, TopicPartition
from streamer.operations.trim.facts import Copy, Log, Rules, Seen, ShelfSeen, Snapshot, Unknown
from streamer.snapshot.verified import LEVELS

__all__ = ["Floor", "Holder", "floors_of", "unfit"]

Kind = Literal["snapshot", "copy", "restore or hold", "operation", "topic", "unknown"]

_UNLIMITED = "-1"
_LIMITS = ("retention.ms", "retention.bytes")
_TOMBSTONES = "delete.retention.ms"
# A restore from a snapshot must have passed what was deleted since before Kafka forgets that it
# was: half of the time is for the snapshot to grow old in, the other half to restore from it.
_AGE_SHARE = 2
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Who needs what comes after `position`. `since_ms` is 0 where it is not known; `is_lost`: it
    stands below the start, so that it must be made anew from a snapshot."""

    kind: Kind
    owner: str
    position: int
    reason: str
    frees: str
    since_ms: int = 0
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Floor:
    """How far one partition may be trimmed. `snapshots` are the stems that justify it; `standing`
    are the positions of all that can be restored from, by stem. `usable_ms` is how long the newest
    that justifies it can still be restored from, 0 where there is none. `restorable_ms` is for how
    long any snapshot brings the state back whose log was cut before, 0 where none does: it is on
    the disks of its workers alone. None where the log has everything, or that is not known."""

    place: TopicPartition
    log: Log
    position: int
    holders: tuple[Holder, ...]
    snapshots: tuple[str, ...] = ()
    standing: Mapping[str, int] = field(default_factory=dict)
    usable_ms: int = 0
    restorable_ms: int | None = None

    @property
    def limit(self) -> Holder:
        """Who holds it back."""
        return next(one for one in self.holders if not one.is_lost)

    def lost(self, position: int) -> list[str]:
        """The snapshots from which nothing can be restored once the log begins there."""
        return [stem for stem, at in self.standing.items() if at < position]

    def target(self, rules: Rules, *, is_capped: bool = True) -> int:
        """How far a run would go: the floor, or less of a log of which so much may not go at a
        time."""
        start, end = self.log.start, self.log.end
        most = start + (end - start) * rules.percent_max // 100
        return min(self.position, most) if is_capped else self.position


def floors_of(task: TaskId, seen: Seen, rules: Rules) -> dict[TopicPartition, Floor]:
    """The floor of each changelog partition of a task, with its holders, the lowest first."""
    logs = seen.logs.get(task, {})
    shelf = seen.shelves.get(task, ShelfSeen())
    snapshots = shelf.snapshots
    chosen = _chosen(snapshots, logs, rules)
    shared = [*seen.cluster.unknown_of_all, *seen.cluster.unknown.get(task, ())]
    copies = seen.cluster.copies.get(task, ())
    if not copies and not shared:
        shared.append(
            Unknown(
                "the copies of the task",
                "no worker that is remembered tells of this task: what disks have is not known",
                "start the workers",
            )
        )
    if shelf.unknown is not None:
        shared.append(shelf.unknown)
    elif len(chosen) < rules.snapshots_min:
        shared.append(_too_few(snapshots, len(chosen), logs, rules=rules))
    floors = {}
    for place, log in logs.items():
        holders = [
            *_of_settings(place, log),
            *(_nothing_goes("unknown", one, log) for one in shared),
            *(_nothing_goes("operation", one, log) for one in seen.busy.get(task, ())),
            *(_of_copy(place, log, one) for one in copies),
            *(_of_snapshot(place, log, one, rules=rules) for one in chosen),
            *_of_keepers(place, log, snapshots),
        ]
        holders.sort(key=lambda one: (one.is_lost, one.position, one.kind, one.owner))
        position = min(one.position for one in holders if not one.is_lost)
        stems = tuple(one.stem for one in chosen)
        standing = {
            one.stem: at
            for one in snapshots
            if (at := one.positions.get(place, 0)) >= log.start and not one.problem
        }
        usable_ms = max((_kept_ms(log) - one.age_ms for one in chosen), default=0)
        floors[place] = Floor(
            place,
            log,
            position,
            tuple(holders),
            stems,
            standing,
            usable_ms,
            _restorable_ms(place, log, shelf),
        )
    return floors


def _chosen(
    snapshots: Iterable[Snapshot], logs: Mapping[TopicPartition, Log], rules: Rules
) -> list[Snapshot]:
    """The newest snapshots on which a trim may rest."""
    fit = [one for one in snapshots if not unfit(one, logs, rules)]
    return fit[-rules.snapshots_min :]


def unfit(snapshot: Snapshot, logs: Mapping[TopicPartition, Log], rules: Rules) -> str:
    """Why no trim may rest on a snapshot; empty where one may."""
    if snapshot.problem:
        return f"its manifest cannot be read: {snapshot.problem}"
    if snapshot.is_condemned:
        return "it is being deleted"
    if not snapshot.level:
        return "nobody has verified it"
    if LEVELS.index(snapshot.level) < LEVELS.index(rules.level):
        return f"it is verified as {snapshot.level}, and {rules.level} is asked for"
    for place in snapshot.positions.keys() - logs.keys():
        return f"it has {place}, which is no changelog of the task any more"
    for place, log in logs.items():
        if reason := _unfit_for(snapshot, place, log):
            return reason
    return ""


def _unfit_for(snapshot: Snapshot, place: TopicPartition, log: Log) -> str:
    at = snapshot.positions.get(place, 0)
    topic_id = snapshot.topic_ids.get(place, "")
    if at < log.start:
        return f"it stands at {at} of {place}, which begins at {log.start}"
    if at > log.end:
        return f"it stands at {at} of {place}, which ends at {log.end}"
    if topic_id and log.topic_id and topic_id != log.topic_id:
        return f"it is of another topic than the {place.topic} of today"
    kept_ms = _kept_ms(log)
    if log.settings and snapshot.age_ms * _AGE_SHARE > kept_ms:
        return (
            f"it is {snapshot.age_ms / _HOUR_MS:.0f} h old, more than half of {_TOMBSTONES} of"
            f" {place.topic} ({kept_ms / _HOUR_MS:.0f} h)"
        )
    return ""


def _restorable_ms(place: TopicPartition, log: Log, shelf: ShelfSeen) -> int | None:
    kept_ms = _kept_ms(log)
    if not (log.start and kept_ms) or shelf.unknown is not None:
        return None
    ages_ms = [
        one.age_ms
        for one in shelf.snapshots
        if one.level and not (one.problem or one.is_condemned)
        if log.start <= one.positions.get(place, 0) <= log.end
        if not (log.topic_id and one.topic_ids.get(place, "") not in ("", log.topic_id))
    ]
    return max((kept_ms - age_ms for age_ms in ages_ms if age_ms < kept_ms), default=0)


def _kept_ms(log: Log) -> int:
    """How long the log keeps removals of rows, 0 where that is not known."""
    return int(log.settings.get(_TOMBSTONES, 0))


# -- holders -------------------------------------------------------------------------------------


def _too_few(
    snapshots: Iterable[Snapshot],
    found: int,
    logs: Mapping[TopicPartition, Log],
    *,
    rules: Rules,
) -> Unknown:
    others = [(one, reason) for one in snapshots if (reason := unfit(one, logs, rules))]
    why = "; ".join(f"{one.id}: {reason}" for one, reason in others[-3:])
    return Unknown(
        "verified snapshots",
        f"{found} of {rules.snapshots_min} that are needed" + (f" ({why})" if why else ""),
        f"make snapshots and verify them as {rules.level}: streamer snapshot create, then"
        " streamer snapshot verify",
    )


def _nothing_goes(kind: Kind, unknown: Unknown, log: Log) -> Holder:
    return Holder(
        kind, unknown.owner, log.start, unknown.reason, unknown.frees, since_ms=unknown.since_ms
    )


def _holder(log: Log, position: int, holder: Holder) -> Holder:
    """As it counts: lost below the start, and nothing is certain of what is beyond the end."""
    if position > log.end:
        return Holder(
            "unknown",
            holder.owner,
            log.start,
            f"it stands at {position}, and the log ends at {log.end}: it is of another topic",
            "see docs/operations.md, state and changelog do not fit",
            since_ms=holder.since_ms,
        )
    return holder


def _of_copy(place: TopicPartition, log: Log, copy: Copy) -> Holder:
    position = copy.positions.get(place)
    if position is None:
        return Holder(
            "unknown",
            str(copy),
            log.start,
            f"it does not tell what its disk has of this changelog ({copy.state})",
            "it tells when it has opened the task; a worker of an older release never does",
            since_ms=copy.at_ms,
        )
    is_lost = position < log.start
    frees = "it moves on as it reads"
    if copy.is_gone:
        frees = "its return, or the seventh day after its last word, when it is forgotten"
    elif copy.state == "failed":
        frees = "mend the task there, or move its state away and restart that worker"
    reason = f"its disk has all before that ({copy.state})"
    if is_lost:
        reason = f"its disk stands below the start: it is made anew from a snapshot ({copy.state})"
    found = Holder("copy", str(copy), position, reason, frees, since_ms=copy.at_ms, is_lost=is_lost)
    return _holder(log, position, found)


def _of_snapshot(place: TopicPartition, log: Log, snapshot: Snapshot, *, rules: Rules) -> Holder:
    return Holder(
        "snapshot",
        f"snapshot {snapshot.id}",
        snapshot.positions.get(place, 0),
        f"one of the {rules.snapshots_min} newest that are verified ({snapshot.level})",
        "newer snapshots, once they are verified",
        since_ms=snapshot.created_ms,
    )


def _of_keepers(place: TopicPartition, log: Log, snapshots: Iterable[Snapshot]) -> Iterable[Holder]:
    for snapshot in snapshots:
        for keeper in snapshot.keepers:
            if snapshot.problem:
                yield Holder(
                    "unknown",
                    keeper.owner,
                    log.start,
                    f"{keeper.reason}, whose manifest cannot be read",
                    keeper.frees,
                    since_ms=keeper.since_ms,
                )
                continue
            position = snapshot.positions.get(place, 0)
            yield _holder(
                log,
                position,
                Holder(
                    "restore or hold",
                    keeper.owner,
                    position,
                    keeper.reason,
                    keeper.frees,
                    since_ms=keeper.since_ms,
                    is_lost=position < log.start,
                ),
            )


def _of_settings(place: TopicPartition, log: Log) -> Iterable[Holder]:
    """What of the topic's settings stands in the way, with the command that corrects it."""
    if not log.settings:
        yield Holder(
            "unknown",
            f"the settings of {place.topic}",
            log.start,
            "they may not be read: neither its cleanup.policy nor how long it keeps removals",
            "grant DescribeConfigs on the topic",
        )
        return
    policies = {one.strip() for one in log.settings.get("cleanup.policy", "").split(",")}
    wrong = []
    if policies != {"compact", "delete"}:
        wrong.append(f"cleanup.policy={log.settings.get('cleanup.policy')}")
    if "delete" in policies:
        limits = ((name, log.settings.get(name, _UNLIMITED)) for name in _LIMITS)
        wrong += [f"{name}={value}" for name, value in limits if value != _UNLIMITED]
    if wrong:
        why = "Kafka refuses to delete records of a topic that is compact only"
        if "delete" in policies:
            why = "Kafka deletes by itself what a restore needs, or keeps what is outdated"
        yield Holder(
            "topic",
            f"the settings of {place.topic}",
            log.start,
            f"{', '.join(wrong)}: {why}",
            f"kafka-configs.sh --bootstrap-server ... --alter --entity-type topics --entity-name"
            f" {place.topic} --add-config"
            " 'cleanup.policy=[compact,delete],retention.ms=-1,retention.bytes=-1'",
        )
