"""Which interval was asked for, and with which snapshots it begins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial

from streamer.errors import OperationRefusedError
from streamer.feed.plan import FeedPlan
from streamer.ids import TopicPartition
from streamer.operations.replay.beginning import Beginning, moment
from streamer.topology.graph import Topology
from streamer.topology.interval import Interval, replaced_stores

__all__ = ["asked_interval", "for_interval"]


def asked_interval(
    topology: Topology, *, from_ms: int | None, to_ms: int | None, stores: Sequence[str]
) -> Interval | None:
    """None where it has no end. Raises OperationRefusedError where it has no window, and as
    `replaced_stores`."""
    if to_ms is None:
        if stores:
            raise OperationRefusedError(
                "single stores are computed again for an interval alone: what else a task keeps"
                " goes on from another place of the input",
                hint="name the end of the interval, or leave out the stores",
            )
        return None
    interval = Interval(from_ms or 0, to_ms, replaced_stores(topology, stores))
    if interval.to_ms <= interval.from_ms:
        raise OperationRefusedError(
            f"no window begins at {moment(interval.from_ms)} or later and before"
            f" {moment(interval.to_ms)}",
            hint="name a time for its end that is later than that of its begin",
        )
    return interval


def for_interval(
    choose: Callable[..., Beginning],
    interval: Interval,
    plans: Sequence[FeedPlan],
    *,
    is_whole: Callable[[Collection[TopicPartition]], bool],
) -> Beginning:
    """All rows but those of the interval's windows from the newest snapshots there are, and these
    from the newest that were made by its begin; or from the input alone, where that `is_whole` and
    no snapshot is so old. Tasks without such windows stand where their newest ones do all along.
    `choose` takes plans, the time by which snapshots were made, in ms since 1970, and `is_current`,
    as `choose_beginning` does.

    Raises as it does, and OperationRefusedError where the older ones stand behind the newest.
    """
    own = [one for one in plans if any(each.name in interval.stores for each in one.stores)]
    others = [one for one in plans if one not in own]
    # Whatever clock they were made by, they are there.
    choose_newest = partial(choose, at_ms=sys.maxsize, is_current=True)
    newest = choose_newest(own)
    rest = choose_newest(others) if others else Beginning()
    try:
        oldest = choose(own, at_ms=interval.from_ms)
    except OperationRefusedError:
        if not is_whole(newest.begin.keys()):
            raise
        oldest = Beginning(begin=dict.fromkeys(newest.begin, 0))
    for place, position in sorted(oldest.begin.items()):
        if position > newest.begin[place]:
            raise OperationRefusedError(
                f"{place} was read to {position} when older snapshots were made, and to"
                f" {newest.begin[place]} when the newest were: its positions were set back",
                hint="begin with snapshots that were made before that, or with none",
            )
    until = {**rest.begin, **newest.begin}
    return Beginning(
        {**rest.seeds, **newest.seeds},
        {**until, **oldest.begin},
        former=oldest.seeds,
        until=until,
    )
