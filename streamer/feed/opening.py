"""What must hold before a feed writes anything: its topics, and where it goes on in them."""

from __future__ import annotations

from collections.abc import Mapping

from streamer.errors import (
    ChangelogTrimmedError,
    OperationRefusedError,
    PartitionsChangedError,
    TaskCorruptedError,
)
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.seeds import Seed
from streamer.feed.sums import FeedState
from streamer.ids import TopicPartition

__all__ = ["begun", "check_reach", "check_topics"]


def check_topics(plan: FeedPlan, ports: Ports) -> None:
    """Raise TopicMissingError for changelogs that do not exist, PartitionsChangedError for those
    that are not as wide as their layout."""
    wanted = {one.source: plan.source for one in plan.stores}
    wanted |= {one.target: plan.target for one in plan.stores}
    counts = ports.partitions(list(wanted)) if wanted else {}
    for topic, side in wanted.items():
        if counts[topic] != side.tasks:
            raise PartitionsChangedError(
                f"changelog {topic} has {counts[topic]} partitions, and layout {side.layout} has"
                f" {side.tasks} tasks",
                hint="somebody has changed it, or made another; nothing more is fed. Cancel the"
                " operation, which removes what it made, and plan it anew",
            )


def check_reach(ports: Ports, name: str, positions: Mapping[TopicPartition, int]) -> None:
    """Raise ChangelogTrimmedError for a changelog that begins behind the position, and
    TaskCorruptedError for one that ends before it."""
    starts, ends = ports.starts(positions), ports.ends(positions)
    for place, at in positions.items():
        start, end = starts[place], ends[place]
        if at < start:
            raise ChangelogTrimmedError(
                f"changelog {place}: feed {name} is to go on at {at}, and the topic begins at"
                f" {start}: {start - at:,} offsets are gone",
                hint="it was trimmed, or records were deleted by hand. Cancel the operation and"
                " plan it anew, with a newer snapshot",
            )
        if at > end:
            raise TaskCorruptedError(
                f"changelog {place}: feed {name} is to go on at {at}, and the topic ends at {end}",
                hint="the topic was made anew, or has lost what was acknowledged. Cancel the"
                " operation and plan it anew",
            )


def begun(
    found: FeedState,
    sources: Mapping[str, TopicPartition],
    name: str,
    *,
    starts: Mapping[str, int] | None,
    seed: Seed | None,
    now_ms: int,
) -> FeedState:
    """What the feed called `name` goes on from: as found; else from its `seed`, whose rows come
    first; else from the `starts`, with nothing copied yet. Raises OperationRefusedError where none
    of them says where."""
    missing = sorted(sources.keys() - found.positions.keys())
    if not missing:
        if found.seeding and seed is None:
            raise OperationRefusedError(
                f"feed {name} has begun with a snapshot, and is not told with which",
                hint="go on with it as it was planned, or cancel the operation and plan it anew",
            )
        return found
    if seed is not None and not (found.positions or found.sums):
        at = {store: seed.positions.get(store, 0) for store in sources}
        return FeedState(at, as_of_ms=seed.as_of_ms, seeding=dict.fromkeys(seed.positions, 0))
    if found.positions or found.sums or starts is None:
        raise OperationRefusedError(
            f"group {name} has no position for the changelog of {', '.join(missing)}",
            hint="a feed that has begun has one, unless it stood still for"
            " offsets.retention.minutes or somebody deleted it; what it has written cannot be told"
            " any more: cancel the operation and plan it anew",
        )
    if unknown := [one for one in missing if one not in starts]:
        raise OperationRefusedError(
            f"feed {name} is to begin, and is not told where in {', '.join(unknown)}",
            hint="it begins where the snapshot of its task stands in each changelog",
        )
    return FeedState({one: starts[one] for one in sources}, as_of_ms=now_ms)
