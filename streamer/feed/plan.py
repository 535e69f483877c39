"""`FeedPlan`: whose changelogs go where, the same for every task of one operation; and its record.

A feed and its opposite are the same code: `reversed` exchanges the two layouts. Each has names of
its own, by the operation and the old task:

    <application>.feed.<operation>.<task>           its group, and its transactional id
    <application>.feed.<operation>.back.<task>      those of the opposite direction
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from streamer.errors import InternalTopicError, OperationRefusedError
from streamer.ids import TaskId, changelog_topic, check_application_id, check_topic
from streamer.layout import SubtopologyLayout
from streamer.split.homes import Homes
from streamer.split.move import Move, Side, Text
from streamer.topology.declared import function_name, named
from streamer.topology.graph import Topology
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["PLAN_VERSION", "FeedPlan", "FeedStore"]

PLAN_VERSION = 1
_BACK = ".back"
# It becomes part of the names of groups.
_OPERATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")


class FeedStore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A store and its changelogs. `partition_key` is the name of the function that says whose a
    row is; empty where a row's key tells it."""

    name: Text
    kind: StoreKind
    source: Text
    target: Text
    partition_key: Text


class FeedPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From the changelogs of `source` to those of `target`, of one subtopology."""

    version: int
    operation: Text
    application: Text
    subtopology: Annotated[int, Meta(ge=0, le=10**6)]
    source: Side
    target: Side
    stores: tuple[FeedStore, ...]

    @classmethod
    def of(
        cls,
        topology: Topology,
        number: int,
        *,
        operation: str,
        source: SubtopologyLayout,
        target: SubtopologyLayout,
    ) -> FeedPlan:
        """The plan of a subtopology between two of its layouts.

        Raises TopologyError where a declared partitioner cannot be found.
        """
        return cls.of_move(
            Move.of(
                topology,
                number,
                operation=operation,
                source_layout=source.since,
                source=_homes_of(source),
                target_layout=target.since,
                target=_homes_of(target),
            )
        )

    @classmethod
    def of_move(cls, move: Move) -> FeedPlan:
        """The plan that goes with a split. Raises OperationRefusedError for what cannot be one."""
        record = move.record
        return cls(
            version=PLAN_VERSION,
            operation=move.operation,
            application=move.application,
            subtopology=move.subtopology,
            source=record.source,
            target=record.target,
            stores=tuple(
                FeedStore(
                    spec.name,
                    spec.kind,
                    changelog_topic(move.application, spec.name, move.source_layout),
                    changelog_topic(move.application, spec.name, move.target_layout),
                    record.partition_keys.get(spec.name, ""),
                )
                for spec in move.specs
            ),
        ).checked()

    @property
    def reversed(self) -> FeedPlan:
        """From the target back to the source; of that again, this one."""
        back = self.operation.removesuffix(_BACK)
        if back == self.operation:
            back += _BACK
        stores = tuple(
            msgspec.structs.replace(one, source=one.target, target=one.source)
            for one in self.stores
        )
        return msgspec.structs.replace(
            self, operation=back, source=self.target, target=self.source, stores=stores
        ).checked()

    @property
    def id(self) -> str:
        """Of its content: positions that another plan left are not taken for this one's."""
        return hashlib.sha256(self.encode()).hexdigest()[:16]

    @property
    def salt(self) -> bytes:
        """Of the fingerprints: those of two operations are not to be compared."""
        return hashlib.sha256(f"{self.application} {self.operation}".encode()).digest()[:16]

    @property
    def tasks(self) -> tuple[TaskId, ...]:
        """The old tasks: one feed each."""
        return tuple(TaskId(self.subtopology, task) for task in range(self.source.tasks))

    def name(self, task: int) -> str:
        """The group and the transactional id of the feed of an old task."""
        return f"{self.application}.feed.{self.operation}.{TaskId(self.subtopology, task)}"

    def store(self, topic: str) -> FeedStore:
        """The store that a source topic or a target topic is of."""
        return next(one for one in self.stores if topic in (one.source, one.target))

    def homes(self) -> tuple[Homes, Homes]:
        """(source, target). Raises TopologyError where a declared partitioner cannot be found."""
        return _homes(self.source), _homes(self.target)

    def bound(self, specs: Iterable[StoreSpec]) -> dict[str, StoreSpec]:
        """The specifications of the stores that have a `partition_key`.

        Raises OperationRefusedError where those that are given are not what the plan was made of.
        """
        known = {spec.name: spec for spec in specs}
        found = {}
        for store in self.stores:
            spec = known.get(store.name)
            name = "" if spec is None or not spec.partition_key else _name_of(spec)
            is_other = spec is not None and spec.kind is not store.kind
            if name != store.partition_key or is_other:
                raise OperationRefusedError(
                    f"store {store.name} of operation {self.operation} is"
                    f" {_shown(store.kind, store.partition_key)}; here it is"
                    f" {'not known' if spec is None else _shown(spec.kind, name)}",
                    hint="run it with the code that it was planned by, --app MODULE:APP, or cancel"
                    " it and plan anew",
                )
            if spec is not None and store.partition_key:
                found[store.name] = spec
        return found

    def encode(self) -> bytes:
        """As JSON for a record, always the same."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def decode(cls, raw: bytes, where: str) -> FeedPlan:
        """Raises InternalTopicError for what cannot be read, naming `where` it was found."""
        try:
            version = _version_decoder.decode(raw).version
            if version != PLAN_VERSION:
                raise InternalTopicError(
                    f"{where}: the plan of a feed has version {version}, this version of Streamer"
                    f" reads {PLAN_VERSION}",
                    hint="go on with the version that made it",
                )
            return _decoder.decode(raw).checked()
        except (msgspec.DecodeError, RecursionError) as error:
            raise InternalTopicError(
                f"{where}: the plan of a feed cannot be read: {error}",
                hint="only Streamer may write there; cancel the operation and plan it anew",
            ) from error

    def checked(self) -> FeedPlan:
        """Itself. Raises OperationRefusedError for what cannot be fed, UsageError for names."""
        check_application_id(self.application)
        if _OPERATION.fullmatch(self.operation) is None:
            raise OperationRefusedError(
                f"{self.operation!r} cannot be part of a group's name",
                hint="letters, digits, '.', '_' and '-', at most 150, a letter or digit first",
            )
        topics = [check_topic(t) for one in self.stores for t in (one.source, one.target)]
        twice = sorted({topic for topic in topics if topics.count(topic) > 1})
        if twice:
            raise OperationRefusedError(
                f"the feed of {self.operation} would read or write {', '.join(twice)} twice",
                hint="the two layouts must have changelogs of their own, and each store its own",
            )
        for side in (self.source, self.target):
            if side.partitions % side.tasks:
                raise OperationRefusedError(
                    f"{side.tasks} tasks of layout {side.layout} cannot share {side.partitions}"
                    " partitions",
                    hint="every task must have as many",
                )
        return self


class _Version(msgspec.Struct):
    version: int


# Made here, once: msgspec crashes where several threads meet a type for the first time.
_version_decoder = msgspec.json.Decoder(_Version)
_decoder = msgspec.json.Decoder(FeedPlan)


def _homes(side: Side) -> Homes:
    return Homes(side.tasks, side.partitions, named(side.partitioner))


def _homes_of(one: SubtopologyLayout) -> Homes:
    return Homes(one.tasks, one.width, named(one.partitioner))


def _name_of(spec: StoreSpec) -> str:
    assert spec.partition_key is not None
    return function_name(spec.partition_key)


def _shown(kind: StoreKind, partition_key: str) -> str:
    return f"a {kind.value} store whose rows belong to {partition_key or 'their own keys'}"
