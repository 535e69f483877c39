"""From the nodes of a subtopology to the operators of one task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamer.engine.aggregate import AggregateOperator, Drop
from streamer.engine.closing import Closer, may_split
from streamer.engine.context import ProcessContext
from streamer.engine.fields import by_item_of, fields_of
from streamer.engine.fold import fold_loop, needs_keys
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.engine.process import ProcessOperator
from streamer.engine.sessions import SessionOperator, closed_sessions, session_fold
from streamer.engine.sharing import checked, has_immutable_values, keeps_values
from streamer.engine.sink import Output, SharedTopic, SinkOperator, sent
from streamer.engine.stateless import (
    BranchOperator,
    IdleOperator,
    MergeOperator,
    PassOperator,
    stateless,
)
from streamer.engine.table import JoinOperator, TableOperator
from streamer.engine.times import StreamTime
from streamer.engine.windowed import WindowedOperator, closed_windows
from streamer.ids import FIRST_LAYOUT, Layout, repartition_topic
from streamer.store.cache import KeyValueState
from streamer.store.closing import Closing
from streamer.store.session import SessionState
from streamer.topology.graph import (
    Aggregate,
    Arm,
    Branch,
    Join,
    Merge,
    Node,
    Process,
    Sink,
    Source,
    Stateless,
    Subtopology,
    TableUpdate,
)
from streamer.topology.interval import Interval, concerned
from streamer.topology.serde import Json, MessagePack, Serde
from streamer.topology.windowed_serde import WindowedKey
from streamer.topology.windows import SessionWindows

__all__ = ["Compiler", "Entry", "resolve"]


def resolve(
    application_id: str, end: Source | Sink, topic: str, *, layout: Layout = FIRST_LAYOUT
) -> str:
    """The topic's name on the broker: internal ones carry the application's name, and the layout of
    their reader. Serdes are bound to the name of layout 1: a registry knows schemas by it."""
    if end.is_internal:
        return repartition_topic(application_id, topic, layout)
    return topic


@dataclass(slots=True)
class Entry:
    """A source at work: its bound serdes and the operators that read it."""

    node: Source
    key: Serde[Any]
    value: Serde[Any]
    children: list[Operator]
    decodes_keys: bool
    runs_singly: bool


@dataclass(slots=True)
class Compiler:
    """Makes the operators of one task. `settings` are those of the schema registry, `times` the
    stream times of the windowed aggregations by their stores, `closings` how far some of them had
    come with passing on what had closed, `passed` rows behind that. `place` names topics. With an
    `interval` only its windows are computed: whatever else keeps state stands still."""

    application_id: str
    subtopology: Subtopology
    states: Mapping[str, KeyValueState]
    output: Output
    policy: Policy
    settings: Mapping[str, str]
    drop: Drop
    task: str
    wall_time_ms: Callable[[], int]
    times: Mapping[str, StreamTime]
    closings: Mapping[str, Closing]
    place: Callable[[Source | Sink, str], str]
    passed: Mapping[str, Callable[[bytes], bool]] = field(default_factory=dict)
    is_replay: bool = False
    interval: Interval | None = None

    def operators(self) -> dict[int, Operator]:
        """Operators by node number, tied to their children, in topological order."""
        made: dict[int, Operator] = {}
        for node in self.subtopology.nodes:
            if not isinstance(node, Source):
                made[node.number] = self._operator(node)
        for node in self.subtopology.nodes:
            for child in self.subtopology.children(node):
                if isinstance(node, Branch) and isinstance(child, Arm):
                    branch = made[node.number]
                    assert isinstance(branch, BranchOperator)
                    branch.arms[child.index] = made[child.number]
                elif not isinstance(node, Source):
                    made[node.number].children.append(made[child.number])
        _share_topics(made.values())
        meets_again = any(
            isinstance(one, MergeOperator)
            or (isinstance(one, SinkOperator) and one.shared is not None)
            for one in made.values()
        )
        for operator in made.values():
            operator.keeps_order = meets_again
        _choose_values(made.values())
        return made

    def entries(self, made: Mapping[int, Operator]) -> dict[str, Entry]:
        """The sources by topic name on the broker."""
        entries = {}
        for node in self.subtopology.sources:
            children = [made[child.number] for child in self.subtopology.children(node)]
            for topic in node.topics:
                name = resolve(self.application_id, node, topic)
                entries[self.place(node, topic)] = Entry(
                    node=node,
                    key=node.key.bind(name, True, self.settings),
                    value=node.value.bind(name, False, self.settings),
                    children=children,
                    decodes_keys=self._looks_at_keys(node),
                    runs_singly=_share_a_store(self._reachable(node)),
                )
        return entries

    # -- one node ------------------------------------------------------------------------------

    def _operator(self, node: Node) -> Operator:
        if self._is_idle(node):
            return IdleOperator(node.name, self.policy)
        match node:
            case Stateless():
                return stateless(node, self.policy)
            case Merge():
                return MergeOperator(node.name, self.policy)
            case Branch():
                return BranchOperator(node.name, self.policy, node.predicates)
            case Arm():
                return PassOperator(node.name, self.policy)
            case Sink():
                return self._sink(node)
        return self._stateful(node)

    def _is_idle(self, node: Node) -> bool:
        """Of an interval, what its windows do not come of and what is not made of them. Branches
        and arms hand on what nobody takes then."""
        if self.interval is None or isinstance(node, Merge | Branch | Arm):
            return False
        return node.number not in concerned(self.subtopology, self.interval.stores)

    def _stateful(self, node: Node) -> Operator:
        match node:
            case Aggregate(windows=SessionWindows()):
                return self._sessions(node)
            case Aggregate():
                return self._aggregate(node)
            case TableUpdate():
                state = self.states[node.store.name]
                return TableOperator(node.name, self.policy, state=state, drop=self.drop)
            case Join():
                return JoinOperator(
                    node.name,
                    self.policy,
                    state=self.states[node.table.name],
                    view=node.view,
                    joiner=node.joiner,
                    is_left=node.is_left,
                    drop=self.drop,
                )
            case Process():
                return self._process(node)
        raise AssertionError(f"no operator for {node.kind}")

    def _aggregate(self, node: Aggregate) -> AggregateOperator:
        state = self.states[node.store.name]
        fields = fields_of(node)
        loop = fold_loop(
            checked(node.aggregate, state),
            result=getattr(node.value, "type", None),
            by_item=by_item_of(node.input),
            fields=fields,
            own=None if has_immutable_values(state) else _own(state),
        )
        kind = AggregateOperator if node.windows is None else WindowedOperator
        decode_key = state.spec.key.decode
        if node.windows is not None:
            decode_key = WindowedKey(state.spec.key, node.store).decode
        operator = kind(
            node.name,
            self.policy,
            state=state,
            loop=loop,
            emit=node.emit,
            encode=state.serde.encode,
            decode=state.decode,
            decode_key=decode_key,
            needs_keys=needs_keys(node.aggregate),
            fields=fields,
            needs_care=not isinstance(node.aggregate, Mapping),
            drop=self.drop,
        )
        if keeps_values(node, self.subtopology):
            operator.owns = "each" if fields is None else "batch"
        if isinstance(operator, WindowedOperator):
            assert node.windows is not None
            assert not isinstance(node.windows, SessionWindows)
            operator.windows = node.windows
            operator.time = self.times[node.store.name]
            operator.closer = _closer(self, node, closed_windows)
            operator.interval = self.interval
        return operator

    def _sessions(self, node: Aggregate) -> SessionOperator:
        state = self.states[node.store.name]
        assert isinstance(state, SessionState)
        assert isinstance(node.windows, SessionWindows)
        return SessionOperator(
            node.name,
            self.policy,
            state=state,
            windows=node.windows,
            time=self.times[node.store.name],
            fold=session_fold(
                checked(node.aggregate, state),
                fields_of(node),
                own=_own(state),
                isolates=keeps_values(node, self.subtopology),
            ),
            emit=node.emit,
            closer=_closer(self, node, closed_sessions),
            encode=state.serde.encode,
            decode_key=WindowedKey(state.spec.key, node.store).decode,
            needs_care=not isinstance(node.aggregate, Mapping),
            drop=self.drop,
        )

    def _process(self, node: Process) -> ProcessOperator:
        context = ProcessContext(
            task=self.task,
            states={spec.name: self.states[spec.name] for spec in node.used},
            wall_time_ms=self.wall_time_ms,
        )
        context.moment.times = self.times
        context.is_replay = self.is_replay
        return ProcessOperator(node.name, self.policy, processor=node.processor, context=context)

    def _sink(self, node: Sink) -> SinkOperator:
        topic = resolve(self.application_id, node, node.topic)
        key = node.key.bind(topic, True, self.settings)
        value = sent(node.value.bind(topic, False, self.settings), node, topic)
        return SinkOperator(
            node,
            self.policy,
            topic=self.place(node, node.topic),
            key=key,
            value=value,
            output=self.output,
            key_is_raw=_is_same(key, self._raw_key(node.parents[0])),
            value_is_payload=_is_same(value, _payload(self.states, node.parents[0])),
        )

    # -- what travels along an edge ------------------------------------------------------------

    def _raw_key(self, node: Node) -> Serde[Any] | None:
        """The serde whose bytes `raw_keys` holds behind this node, if it holds any."""
        match node:
            case Source():
                topic = resolve(self.application_id, node, node.topics[0])
                return node.key.bind(topic, True, self.settings)
            case Aggregate(windows=windows) if windows is not None:
                inner = self._raw_key(node.parents[0])
                return None if inner is None else WindowedKey(inner, node.store)
            case Process():
                return None
            case Stateless(operation="map" | "flat_map" | "select_key"):
                return None
            case Merge():
                serdes = [self._raw_key(parent) for parent in node.parents]
                return serdes[0] if all(_is_same(one, serdes[0]) for one in serdes) else None
        return self._raw_key(node.parents[0])

    def _reachable(self, source: Source) -> list[Node]:
        found: list[Node] = []
        waiting: list[Node] = [source]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.append(node)
                waiting += self.subtopology.children(node)
        return found

    def _looks_at_keys(self, source: Source) -> bool:
        """Whether any step needs decoded keys. Where none does, keys stay bytes all the way."""
        for node in self._reachable(source):
            if isinstance(node, Source | TableUpdate | Arm):
                continue
            if isinstance(node, Aggregate) and not needs_keys(node.aggregate):
                continue
            if isinstance(node, Stateless) and node.operation in ("map_values", "flat_map_values"):
                continue
            if isinstance(node, Sink) and self._passes_raw_key(node):
                continue
            return True
        return False

    def _passes_raw_key(self, node: Sink) -> bool:
        topic = resolve(self.application_id, node, node.topic)
        key = node.key.bind(topic, True, self.settings)
        return node.partition is None and _is_same(key, self._raw_key(node.parents[0]))


def _share_a_store(nodes: Iterable[Node]) -> bool:
    """Whether two steps on the way of one record use one store. Then a batch would show the second
    what the first wrote for later records, so records go through one at a time."""
    seen: set[str] = set()
    for node in nodes:
        for spec in node.stores:
            if spec.name in seen:
                return True
            seen.add(spec.name)
    return False


def _payload(states: Mapping[str, KeyValueState], node: Node) -> Serde[Any] | None:
    """The serde whose bytes `payloads` holds behind this node."""
    return states[node.store.name].serde if isinstance(node, Aggregate) else None


def _share_topics(made: Iterable[Operator]) -> None:
    by_topic: dict[str, list[SinkOperator]] = {}
    for operator in made:
        if isinstance(operator, SinkOperator):
            by_topic.setdefault(operator.topic, []).append(operator)
    for sinks in by_topic.values():
        if len(sinks) > 1:
            shared = SharedTopic()
            for sink in sinks:
                sink.shared = shared
            sinks[-1].sends_shared = True


def _choose_values(made: Iterable[Operator]) -> None:
    """Sinks that write an aggregate's own bytes need no values; others get objects of their own."""
    for operator in made:
        if isinstance(operator, AggregateOperator | SessionOperator):
            takes = all(
                isinstance(child, SinkOperator) and child.takes_payload
                for child in operator.children
            )
            operator.takes_payloads = takes
            operator.shares_values = takes or has_immutable_values(operator.state)


def _is_same(one: Serde[Any] | None, other: Serde[Any] | None) -> bool:
    """Whether two bound serdes write the same bytes for the same object."""
    if one is None or other is None or one is other:
        return one is other and one is not None
    if isinstance(one, WindowedKey) and isinstance(other, WindowedKey):
        return one.is_session == other.is_session and _is_same(one.inner, other.inner)
    return (
        isinstance(one, Json | MessagePack) and type(one) is type(other) and one.name == other.name
    )


def _own(state: KeyValueState) -> Callable[[Any], Any]:
    """Makes an object that nobody else has of an aggregate, as storing and reading it would."""
    return lambda value: state.decode(state.encode(value))


def _closer(made: Compiler, node: Aggregate, closed: Callable[[int, Any], int]) -> Closer | None:
    if node.emit != "final":
        return None
    time = made.times[node.store.name]
    return Closer(
        lambda: closed(time.now_ms, node.windows),
        made.closings.get(node.store.name),
        splits=may_split(node, made.subtopology),
        was_passed=made.passed.get(node.store.name),
    )
