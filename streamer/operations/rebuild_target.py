"""Which copy a rebuild is about, chosen once; and what workers say and are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from streamer.config import Config
from streamer.config.cluster import zone_tags
from streamer.config.repositories import parse_repository
from streamer.control.messages import ChoreReport, StandbyReport, StatusRecord
from streamer.control.orders import (
    FORMAT,
    Order,
    RebuildOrder,
    SnapshotOrder,
    encode_order,
    export_key,
    rebuild_key,
)
from streamer.errors import ConfigError, OperationRefusedError, SnapshotError
from streamer.ids import TaskId, TopicPartition
from streamer.operations.kinds import Request
from streamer.operations.ports import Effect
from streamer.operations.work import Work

__all__ = ["SOURCES", "Target", "World", "is_done", "target_of"]

SOURCES = ("auto", "s3", "ssh", "file", "active", "changelog")


class World(Protocol):
    """The application as it is reached from here."""

    @property
    def config(self) -> Config: ...

    @property
    def place(self) -> TopicPartition:
        """Where orders are."""

    def now_ms(self) -> int: ...

    def wait(self) -> None:
        """For a moment, until there may be news."""

    def orders(self) -> Mapping[str, Order]:
        """Those that stand, by key."""

    def statuses(self) -> Mapping[str, StatusRecord]:
        """Of the workers that live."""


@dataclass(frozen=True)
class Target:
    """What all steps know, as the plan's parameters have it."""

    number: str
    task: str
    worker: str
    source: str
    active: str
    directory: str
    repository: str

    @property
    def key(self) -> str:
        return rebuild_key(TaskId.parse(self.task))

    def copy(self, world: World) -> StandbyReport | None:
        status = world.statuses().get(self.worker)
        return None if status is None else status.standbys.get(self.task)

    def told(self, world: World) -> ChoreReport | None:
        """What the worker says of this rebuild, also of a copy that was promoted meanwhile."""
        status = world.statuses().get(self.worker)
        if status is None:
            return None
        report = status.standbys.get(self.task) or status.tasks.get(self.task)
        return _chore(report, self.number)

    def is_promoted(self, world: World) -> bool:
        status = world.statuses().get(self.worker)
        return status is not None and self.task in status.tasks

    def is_rebuilt(self, world: World) -> bool:
        return is_done(self.told(world))

    def stands(self, world: World) -> bool:
        order = world.orders().get(self.key)
        return isinstance(order, RebuildOrder) and order.operation == self.number

    def exports(self, world: World) -> bool:
        order = world.orders().get(export_key(self.number))
        return isinstance(order, SnapshotOrder)

    def exported(self, world: World) -> ChoreReport | None:
        status = world.statuses().get(self.active)
        return None if status is None else _chore(status.tasks.get(self.task), self.number)

    def check_active(self, world: World) -> None:
        """Raise SnapshotError where another worker processes the task by now: it makes the snapshot
        on a disk from which nobody would pull."""
        every = world.statuses()
        others = [name for name, one in sorted(every.items()) if self.task in one.tasks]
        if others and self.active not in others:
            raise SnapshotError(
                f"task {self.task} is processed by worker {others[0]} by now, and not by"
                f" {self.active}",
                hint="cancel it and rebuild again, from the new one; or move the task back",
            )

    def give(self, world: World, work: Work) -> None:
        order = RebuildOrder(
            format=FORMAT,
            operation=self.number,
            task=self.task,
            worker=self.worker,
            source=self.source,
            repository=self.repository,
            at_ms=world.now_ms(),
        )
        work.write([Effect(world.place, self.key, encode_order(order, world.place.topic))])

    def withdraw(self, world: World, work: Work) -> None:
        keys = [self.key] if self.stands(world) else []
        keys += [export_key(self.number)] if self.exports(world) else []
        if keys:
            work.write([Effect(world.place, key, None) for key in keys])


def _chore(report: Any, number: str) -> ChoreReport | None:
    chore: ChoreReport | None = None if report is None else report.chore
    return chore if chore is not None and chore.operation == number else None


def is_done(chore: ChoreReport | None) -> bool:
    return chore is not None and chore.state == "done"


def target_of(world: World, request: Request) -> Target:
    task, source = str(TaskId.parse(str(request["task"]))), str(request.get("from") or "auto")
    number, statuses = str(request.get("number", "")), world.statuses()
    if not number:
        raise OperationRefusedError("a rebuild needs a number of its own", hint="give any new text")
    if source not in SOURCES:
        raise OperationRefusedError(
            f"{source!r} is not where a copy can come from", hint="one of " + ", ".join(SOURCES)
        )
    on, zone = str(request.get("on") or ""), str(request.get("zone") or "")
    worker = _keeper(task, on, statuses, zone=zone)
    active = next((name for name, one in sorted(statuses.items()) if task in one.tasks), "")
    standing = world.orders().get(rebuild_key(TaskId.parse(task)))
    if isinstance(standing, RebuildOrder) and standing.operation != number:
        raise OperationRefusedError(
            f"a copy of task {task} is being rebuilt on worker {standing.worker} already",
            hint="streamer operations list shows by which operation; wait for it, or cancel it",
        )
    directory = repository = ""
    if source == "active":
        host = statuses[active].host if active else ""
        directory, repository = _export(world.config, task, active, host)
    elif source in ("s3", "ssh", "file"):
        _check_scheme(world.config, source)
    return Target(number, task, worker, source, active, directory, repository)


def _within(zone: str, statuses: Mapping[str, StatusRecord]) -> Mapping[str, StatusRecord]:
    """The workers of a zone, which has all of these tags; "" is all of them."""
    wanted = set(zone_tags(zone))
    found = {name: one for name, one in statuses.items() if wanted <= set(zone_tags(one.zone))}
    if zone and not found:
        known = sorted({one.zone for one in statuses.values() if one.zone})
        raise OperationRefusedError(
            f"no worker that lives is in zone {zone}",
            hint="zones are: " + ("; ".join(known) or "none, workers have no tags"),
        )
    return found


def _keeper(task: str, on: str, statuses: Mapping[str, StatusRecord], *, zone: str) -> str:
    """The worker whose copy is made anew: the given one, else one whose copy has failed, else the
    first by name; of a zone, where one is given."""
    every = {name: one.standbys[task] for name, one in statuses.items() if task in one.standbys}
    keepers = {name: every[name] for name in _within(zone, statuses) if name in every}
    where = f" in zone {zone}" if zone else ""
    if on and on in statuses and task in statuses[on].tasks:
        raise OperationRefusedError(
            f"task {task} is processed by worker {on}, and only a copy can be rebuilt",
            hint="move the task first (streamer drain --worker), or name a worker with a copy: "
            + (", ".join(sorted(every)) or "none has one"),
        )
    if on and on not in keepers:
        raise OperationRefusedError(
            f"worker {on} keeps no copy of task {task}{where}"
            + ("" if on in statuses else " and is gone"),
            hint=f"workers with a copy{where}: " + (", ".join(sorted(keepers)) or "none"),
        )
    if not keepers:
        raise OperationRefusedError(
            f"no worker that lives keeps a copy of task {task}{where}",
            hint=f"workers with a copy elsewhere: {', '.join(sorted(every))}"
            if every
            else "set standby_replicas to 1 or more, and wait until a copy is being built",
        )
    return on or min(keepers, key=lambda name: (keepers[name].state != "failed", name))


def _export(config: Config, task: str, active: str, host: str) -> tuple[str, str]:
    """Where the active leaves its snapshot, and how others reach that."""
    if not active:
        raise OperationRefusedError(
            f"nobody processes task {task} at present, so there is no active to pull from",
            hint="wait until it runs, or take another source",
        )
    if config.snapshot_export_dir is None or not config.snapshot_export_address:
        raise OperationRefusedError(
            "snapshot_export_dir and snapshot_export_address are not both set, so no host can pull"
            " from another",
            hint="set both on all workers, such as /var/lib/streamer/export and"
            " ssh://streamer@{host}/var/lib/streamer/export",
        )
    address = config.snapshot_export_address.replace("{host}", host)
    parse_repository(address, config.source("snapshot_export_address"))
    return f"file://{config.snapshot_export_dir.absolute()}", address


def _check_scheme(config: Config, source: str) -> None:
    if not config.snapshot_repository:
        raise ConfigError(
            f"snapshot_repository is not set, so nothing can come from {source}",
            hint="set it to file:///path, s3://bucket/prefix or ssh://user@host/path",
        )
    scheme = parse_repository(config.snapshot_repository).scheme
    if scheme != source:
        raise OperationRefusedError(
            f"the repository {config.snapshot_repository} is not of {source}",
            hint=f"take --from {scheme}, or set snapshot_repository to another one",
        )
