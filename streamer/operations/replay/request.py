"""What a replay was asked to do: the request of a repartition whose state comes from elsewhere.

The same topics are read from their begin by an application of its own, `<application>.<operation>`,
with the code that is given to its workers. What it has computed is copied into the changelogs of
the next layout, which has the same tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import msgspec

from streamer.control.layouts import layout_record
from streamer.errors import OperationRefusedError
from streamer.feed.plan import FeedPlan
from streamer.ids import TopicPartition, changelog_topic, replay_application
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.finals import check_finals, finals_of
from streamer.operations.repartition.refusals import check_code
from streamer.operations.repartition.request import Asked
from streamer.operations.replay.beginning import Beginning
from streamer.topology.graph import Aggregate, Source, Subtopology, TableUpdate, Topology
from streamer.topology.interval import Interval
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.replayed import Outputs, replayed
from streamer.topology.shape import shape_of

__all__ = ["ask_again", "bases_of", "unreachable"]

_ONE_WAY = "the former state is not kept up to date, and nothing computes it once more"


def ask_again(
    topology: Topology,
    layout: ApplicationLayout,
    *,
    number: str,
    compacted: Collection[str] = (),
    base: Callable[[Sequence[FeedPlan]], Beginning] | None = None,
    outputs: Outputs = "off",
    interval: Interval | None = None,
) -> Asked:
    """The state of all subtopologies anew. `layout` is the one that holds, with every subtopology;
    `compacted` are the topics of others of which brokers keep each key's last record alone. With a
    `base` it begins with snapshots, for the feeds that it is given, and not with the begin. With an
    `interval` the rest is what that base has.

    Raises OperationRefusedError for what cannot be read again, and TopologyError where the id is
    too long for another one to be made of it.
    """
    name = topology.application_id
    _check(topology, layout)
    for each in topology.subtopologies:
        _check_compacted(each, compacted)
        if base is not None:
            _check_base(each)
    origin = replayed(topology, replay_application(name, number))
    read, written = external_topics(topology)
    if outputs == "on" and (both := sorted(set(read) & set(written))):
        raise OperationRefusedError(
            f"the application reads {both[0]}, which it writes as well: results that are written"
            " once more would be processed once more",
            hint="have them written beside: --outputs side",
        )
    widths = {
        topic: one.partitions
        for each in layout.subtopologies.values()
        for topic, one in each.external.items()
    }
    source = _placed_as(partitions(origin, {topic: widths[topic] for topic in read}).layout, layout)
    after = layout.rebuilt()
    for each in topology.subtopologies:
        old, new = (one.subtopologies[each.number] for one in (source, after))
        check_finals(each, old, new)
    feeds = [
        _feed(topology, each.number, number, source=source, after=after)
        for each in topology.subtopologies
        if each.stores
    ]
    bases = [] if base is None else bases_of(topology, feeds, before=layout, after=after)
    chosen = Beginning() if base is None else base(bases)
    return Asked(
        number=number,
        before=layout_record(name, layout),
        after=layout_record(name, after),
        source=layout_record(origin.application_id, source),
        shape=shape_of(topology, layout).digest,
        feeds=tuple(feeds),
        outputs=outputs,
        base=dict(chosen.seeds),
        bases=tuple(bases),
        begin={str(place): at for place, at in sorted(chosen.begin.items())},
        windows=None if interval is None else (interval.from_ms, interval.to_ms),
        replaced=() if interval is None else interval.stores,
        former=dict(chosen.former),
        until={str(place): at for place, at in sorted(chosen.until.items())},
        finals=tuple(one for each in topology.subtopologies for one in finals_of(each)),
        one_way=_ONE_WAY,
    )


def _placed_as(source: ApplicationLayout, live: ApplicationLayout) -> ApplicationLayout:
    """Keys of the same topics lie in the same way, whatever the code declares."""
    changed = {}
    for number, one in source.subtopologies.items():
        known = live.subtopologies[number].external
        inputs = {
            topic: replace(each, partitioner=known[topic].partitioner) if topic in known else each
            for topic, each in one.inputs.items()
        }
        changed[number] = replace(one, inputs=inputs)
    return replace(source, subtopologies=changed)


def unreachable(
    starts: Mapping[TopicPartition, int], begin: Mapping[str, int]
) -> list[TopicPartition]:
    """The partitions that have lost where they are read from: a position in `begin`, or 0."""
    return sorted(place for place, start in starts.items() if start > begin.get(str(place), 0))


def _feed(
    topology: Topology,
    subtopology: int,
    operation: str,
    *,
    source: ApplicationLayout,
    after: ApplicationLayout,
) -> FeedPlan:
    old, new = source.subtopologies[subtopology], after.subtopologies[subtopology]
    plan = FeedPlan.of(topology, subtopology, operation=operation, source=old, target=new)
    origin = replay_application(topology.application_id, operation)
    stores = tuple(
        msgspec.structs.replace(one, source=changelog_topic(origin, one.name))
        for one in plan.stores
    )
    return msgspec.structs.replace(plan, stores=stores).checked()


def bases_of(
    topology: Topology,
    feeds: Sequence[FeedPlan],
    *,
    before: ApplicationLayout,
    after: ApplicationLayout,
) -> list[FeedPlan]:
    """From the state that the live tasks had to that with which the others begin, which is where
    the feeds come from."""
    plans = []
    for feed in feeds:
        live, following = (one.subtopologies[feed.subtopology] for one in (before, after))
        plan = FeedPlan.of(
            topology, feed.subtopology, operation=feed.operation, source=live, target=following
        )
        stores = tuple(
            msgspec.structs.replace(one, target=fed.source)
            for one, fed in zip(plan.stores, feed.stores, strict=True)
        )
        plans.append(msgspec.structs.replace(plan, target=feed.source, stores=stores).checked())
    return plans


def _check_base(one: Subtopology) -> None:
    """Raise OperationRefusedError where a task reads what another one has sent: their snapshots
    stand at different moments, and what was on its way between is in none of them."""
    if any(source.is_internal for source in one.sources):
        raise OperationRefusedError(
            f"subtopology {one.number} reads a topic of the application's own: snapshots of its"
            " tasks and of those that write there stand at different moments",
            hint="read the input from its begin, without a time",
        )


def _check(topology: Topology, layout: ApplicationLayout) -> None:
    moved = [(n, one.mode) for n, one in sorted(layout.subtopologies.items()) if one.mode != "fold"]
    for number, mode in moved:
        raise OperationRefusedError(
            f"subtopology {number} is in mode {mode}: its topics do not tell any more in what order"
            " records of a key came",
            hint="begin anew under another application id, and switch its readers over",
        )
    for one in topology.subtopologies:
        _check_times(one)
        check_code(one)


def _check_compacted(one: Subtopology, compacted: Collection[str]) -> None:
    """Raise OperationRefusedError where more than a table comes of a topic that has lost what keys
    had before: the table ends as it is, and what was made of it on the way does not."""
    lost = sorted(set(one.topics) & set(compacted))
    only_tables = all(
        isinstance(child, TableUpdate)
        for node in one.nodes
        if isinstance(node, Source)
        for child in one.children(node)
    )
    makes_more = len(one.stores) > len(one.sources) or any(sink.is_internal for sink in one.sinks)
    if lost and (makes_more or not only_tables):
        raise OperationRefusedError(
            f"{lost[0]} is compacted, and subtopology {one.number} makes more of it than a table:"
            " what its keys had before is not there any more",
            hint="only tables are computed again of such a topic",
        )


def _check_times(one: Subtopology) -> None:
    """Raise OperationRefusedError for results that depend on how the times of several inputs went
    side by side, or on what the live application has passed on."""
    by_time = [spec.name for spec in one.stores if spec.retention_ms or spec.ttl_ms]
    by_time += [
        node.store.name
        for node in one.nodes
        if isinstance(node, Aggregate) and node.windows is not None
    ]
    hint = "begin anew under another application id, and switch its readers over"
    if finals := finals_of(one):
        raise OperationRefusedError(
            f"store {finals[0].name} passes on final results, which were passed on once: what was"
            " late then need not be late where it is read again",
            hint=hint,
        )
    is_behind_own = any(source.is_internal for source in one.sources)
    if is_behind_own and (by_time or len(one.topics) > 1):
        what = f"store {by_time[0]}, which goes by time" if by_time else "other topics"
        raise OperationRefusedError(
            f"subtopology {one.number} reads a topic of the application's own and has {what}: read"
            " again, its tasks do not come as far as each other at the same moments",
            hint=hint,
        )
