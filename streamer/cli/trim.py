"""`streamer trim` and `streamer why-kept`: what of changelogs may go, why the rest stays."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streamer.cli.operations import ended, executing
from streamer.cli.options import Commands, add_application, add_command, add_json, application
from streamer.cli.output import moment, print_json, print_table, quiet_clients
from streamer.cli.progress import Counter, size, span
from streamer.errors import ConfigError, OperationRefusedError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.ids import TaskId, TopicPartition
    from streamer.operations.books import Books
    from streamer.operations.trim.floors import Floor, Holder
    from streamer.operations.trim.survey import Part, Survey
    from streamer.operations.trim.world import World

__all__ = ["add"]

_DETAILS = """\
A changelog is trimmed below what verified snapshots, and every disk with a copy of the task, no
longer need. What is not known holds everything back. `plan` deletes nothing.

  streamer trim plan --app shop.stream:app
  streamer trim apply trim-9f3c01aa6b52 --app shop.stream:app
"""
_WHY = """\
Shows who needs what of one changelog partition, since when, and what would end that.

  streamer why-kept shop-totals-changelog/3 --app shop.stream:app
"""
_COLUMNS = ("changelog", "from", "to", "offsets", "about", "freed", "held_by", "at")
_HOLDERS = ("holder", "position", "since", "why", "freed_by")
_PARTLY = "some logs may have been cut: streamer why-kept tells where each of them begins"


def add(commands: Commands) -> None:
    group = add_command(
        commands, "trim", "plan and apply the trimming of changelogs", details=_DETAILS
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    plan = add_command(
        verbs, "plan", "show what of each changelog would go, and who holds it back", execute=_plan
    )
    plan.add_argument(
        "--store",
        metavar="STORE",
        action="append",
        default=[],
        dest="stores",
        help="the changelogs of this store alone; may be repeated",
    )
    plan.add_argument(
        "--partition",
        metavar="NUMBER",
        type=int,
        action="append",
        default=[],
        dest="partitions",
        help="this partition alone; may be repeated",
    )
    plan.add_argument(
        "--beyond-cap",
        action="store_true",
        help="also more of a changelog than trim_percent_max allows at a time",
    )
    plan.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    apply = add_command(
        verbs, "apply", "delete what a plan shows, and nothing else", execute=_apply
    )
    apply.add_argument(
        "id",
        metavar="ID",
        nargs="?",
        default="",
        help="of the operation or the plan, as `plan` printed it (default: the only one)",
    )
    apply.add_argument(
        "--wait",
        action="store_true",
        help="wait while another process carries it out, and go on if that one ends before it",
    )
    why = add_command(
        commands,
        "why-kept",
        "show who needs what of a changelog partition",
        details=_WHY,
        execute=_why_kept,
    )
    why.add_argument("place", metavar="TOPIC/PARTITION", help="a partition of a changelog")
    for verb in (plan, apply, why):
        add_application(verb)
        add_json(verb)


@contextmanager
def _world(config: Config) -> Iterator[World]:
    from streamer.operations.trim.kind import open_world

    with open_world(config) as world:
        yield world


# -- plan ------------------------------------------------------------------------------------------


def _plan(arguments: argparse.Namespace) -> int:
    config = application(arguments)
    from streamer.operations.trim.proposing import propose_trim

    with executing(arguments) as (executor, _display):
        found, record = propose_trim(
            executor, lambda: _looked(arguments, config), why=arguments.why
        )
    if arguments.json:
        print_json(_plain_survey(found, record))
    else:
        _print_survey(found, record)
    return 0


def _looked(arguments: argparse.Namespace, config: Config) -> Survey:
    from streamer.operations.trim.surveying import surveyed

    with _world(config) as world, Counter(sys.stderr) as counter:
        return surveyed(
            config,
            world,
            stores=arguments.stores,
            partitions=arguments.partitions,
            is_capped=not arguments.beyond_cap,
            counting=counter.of,
        )


def _plain_survey(found: Survey, record: OperationRecord | None) -> dict[str, Any]:
    return {
        "operation": record.id if record else None,
        "plan": record.plan_id if record else None,
        "partitions": [_plain_part(part) for part in found.parts],
        "total": {
            "offsets": sum(part.records for part in found.chosen),
            "bytes": sum(part.size or 0 for part in found.chosen),
            "freed_bytes": sum(part.freed or 0 for part in found.chosen),
        },
        "left_for_later": found.later,
        "unknown_topics": [str(place) for place in found.strangers],
    }


def _plain_part(part: Part) -> dict[str, Any]:
    return {
        **_plain_floor(part.task, part.floor),
        "to": part.to,
        "offsets": part.records,
        "bytes": part.size,
        "freed_bytes": part.freed,
        "is_capped": part.is_capped,
        "snapshots_lost": [stem.partition("-")[2] for stem in part.lost],
        "snapshots_usable_ms": part.floor.usable_ms,
    }


def _print_survey(found: Survey, record: OperationRecord | None) -> None:
    print_table([_row(part) for part in found.parts], _COLUMNS)
    if found.strangers:
        named = ", ".join(str(place) for place in found.strangers[:5])
        print(
            f"\nkept, since neither a status nor a snapshot tells of them: {named}"
            + (f" and {len(found.strangers) - 5} more" if len(found.strangers) > 5 else "")
        )
    capped = sum(part.is_capped for part in found.chosen)
    if capped:
        percent = found.rules.percent_max
        print(f"\nof {capped} logs only {percent} % go at a time: --beyond-cap takes all")
    lost = {stem.partition("-")[2][:12] for part in found.chosen for stem in part.lost}
    if lost:
        print(f"\nnothing can be restored from these snapshots then: {', '.join(sorted(lost))}")
    cut = [(ms, one.place) for one in found.parts if (ms := one.floor.restorable_ms) is not None]
    if cut:
        least_ms, place = min(cut)
        print(f"\n{len(cut)} logs were cut before. {_restorable(least_ms, str(place))}")
    if record is None:
        print("\nnothing is to be trimmed; streamer why-kept TOPIC/PARTITION tells more")
        return
    if found.later:
        print(f"\n{found.later} more partitions are left for the next plan")
    cost = record.plan.cost
    freed = sum(part.freed or 0 for part in found.chosen)
    print(
        f"\nplan {record.plan_id[:12]}: {cost.records:,} offsets go, about {size(cost.bytes)};"
        f" of the disk at least {size(freed)}, in whole segments"
    )
    usable_ms = min(part.floor.usable_ms for part in found.chosen)
    print(
        f"what is left can be restored from these snapshots for {span(usable_ms // 1000)} more, as"
        " long as the changelogs keep removals: go on making new ones"
    )
    print(f"\nstreamer trim apply {record.id}")


def _restorable(restorable_ms: int, place: str) -> str:
    """What becomes of a state whose disks are lost, and whose log was cut."""
    if restorable_ms:
        return f"A snapshot brings the state of {place} back for {span(restorable_ms // 1000)} more"
    return (
        f"No snapshot brings the state of {place} back: it is on the disks of its workers alone;"
        " make one: streamer snapshot create"
    )


def _row(part: Part) -> dict[str, Any]:
    holder = part.floor.limit
    return {
        "changelog": str(part.place),
        "from": part.floor.log.start,
        "to": part.to,
        "offsets": part.records,
        "about": "?" if part.size is None else size(part.size),
        "freed": "?" if part.freed is None else size(part.freed),
        "held_by": f"{holder.owner}: {holder.reason}",
        "at": holder.position,
    }


# -- apply -----------------------------------------------------------------------------------------


def _apply(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        chosen = _chosen(arguments.id, executor.books())
        record = executor.start(chosen.id, plan_id=chosen.plan_id, waits=arguments.wait)
        code = ended(arguments, record, executor.books(), wanted="done")
    if not arguments.json:
        from streamer.operations.trim.steps import CUT

        cut = next(step for step in record.steps if step.id == CUT)
        # One that failed may have cut some logs, and says nothing.
        print(cut.said or (_PARTLY if cut.begun else "nothing was deleted"))
    return code


def _chosen(given: str, books: Books) -> OperationRecord:
    """The trim of this id, or with a plan that begins so; without either, the only one."""
    if given in books.operations or books.knows(given):
        record = books.operation(given)
        if record.kind == "trim":
            return record
        raise OperationRefusedError(
            f"operation {given} is no trim: {record.kind}",
            hint="streamer operations list has all of them",
        )
    open_ones = [one for one in books.operations.values() if one.kind == "trim"]
    open_ones = [one for one in open_ones if not one.is_finished]
    found = [one for one in open_ones if one.plan_id.startswith(given)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(one.id for one in open_ones)) or "none"
    raise OperationRefusedError(
        f"{len(found)} trims that wait to be applied are meant by {given or 'no id'!r}",
        hint=f"name one of: {known} (a newer plan replaces an older one of the same); or make one:"
        " streamer trim plan",
    )


# -- why-kept --------------------------------------------------------------------------------------


def _why_kept(arguments: argparse.Namespace) -> int:
    place = _place(arguments.place)
    config = application(arguments)
    quiet_clients(arguments)
    from streamer.operations.trim.floors import floors_of

    with _world(config) as world:
        seen = world.look(world.tasks([place.partition]))
        task = next((one for one, logs in sorted(seen.logs.items()) if place in logs), None)
        if task is None:
            raise _refused(world, place, {one for logs in seen.logs.values() for one in logs})
        floor = floors_of(task, seen, world.rules)[place]
        notes = _notes(world, task, place)
    if arguments.json:
        print_json({**_plain_floor(task, floor), "trims": notes})
    else:
        _print_floor(task, floor, notes)
    return 0


def _place(text: str) -> TopicPartition:
    from streamer.ids import TopicPartition

    topic, _, number = text.rpartition("/")
    if not (topic and number.isdecimal()):
        raise ConfigError(
            f"{text!r} is not a partition",
            hint="write TOPIC/PARTITION, such as shop-totals-changelog/3",
        )
    return TopicPartition(topic, int(number))


def _refused(
    world: World, place: TopicPartition, known: set[TopicPartition]
) -> OperationRefusedError:
    if place.partition >= world.logs.topics().get(place.topic, 0):
        others = ", ".join(map(str, sorted(known))) or "none"
        return OperationRefusedError(
            f"{place} does not exist",
            hint=f"changelogs with that partition are: {others}",
        )
    return OperationRefusedError(
        f"neither a status nor a snapshot of {world.application} tells of {place}: it is kept",
        hint="it is no changelog of this application, or its workers are of an older release or"
        " have never told what their disks have",
    )


def _notes(world: World, task: TaskId, place: TopicPartition) -> list[dict[str, Any]]:
    """What earlier trims have noted; nothing where the repository does not tell."""
    import msgspec

    from streamer.errors import RepositoryError, SnapshotError
    from streamer.operations.trim.notes import read_notes

    try:
        notes = read_notes(world.shelf(task), place)
    except (RepositoryError, SnapshotError) as error:
        print(f"streamer: {error.describe()}", file=sys.stderr)
        return []
    plain: list[dict[str, Any]] = msgspec.to_builtins(notes)
    return plain


def _plain_floor(task: TaskId, floor: Floor) -> dict[str, Any]:
    return {
        "topic": floor.place.topic,
        "partition": floor.place.partition,
        "task": str(task),
        "start": floor.log.start,
        "end": floor.log.end,
        "floor": floor.position,
        "holders": [_plain_holder(holder) for holder in floor.holders],
        "snapshots": [stem.partition("-")[2] for stem in floor.snapshots],
        "restorable_ms": floor.restorable_ms,
    }


def _plain_holder(holder: Holder) -> dict[str, Any]:
    return {
        "kind": holder.kind,
        "owner": holder.owner,
        "position": holder.position,
        "reason": holder.reason,
        "since_ms": holder.since_ms,
        "freed_by": holder.frees,
        "is_lost": holder.is_lost,
    }


def _print_floor(task: TaskId, floor: Floor, notes: list[dict[str, Any]]) -> None:
    log = floor.log
    print(f"{floor.place}, task {task}: begins at {log.start:,}, ends at {log.end:,}")
    free = floor.position - log.start
    if free:
        print(f"{free:,} offsets may go, up to {floor.position:,}: streamer trim plan")
    else:
        print(f"nothing may go: {floor.limit.owner}, {floor.limit.reason}")
    if floor.restorable_ms is not None:
        print(_restorable(floor.restorable_ms, str(floor.place)))
    for note in notes[-1:]:
        left = f"; {note['left']}" if note.get("left") else ""
        print(
            f"cut from {note['began']:,} to {note['reached']:,} at {moment(note['at_ms'])} by"
            f" {note['by']}, operation {note['operation']}{left}"
        )
    print()
    rows = [
        {
            "holder": one.owner,
            "position": one.position,
            "since": moment(one.since_ms) if one.since_ms else "",
            "why": one.reason,
            "freed_by": one.frees,
        }
        for one in floor.holders
    ]
    print_table(rows, _HOLDERS)
