"""Which interval was asked for, and with which snapshots it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.errors import OperationRefusedError
from streamer.operations.replay.beginning import Beginning, moment
from streamer.topology.graph import Topology
from streamer.topology.interval import Interval, replaced_stores

__all__ = ["asked_interval", "for_interval"]


def asked_interval(
    topology: Topology, from_ms: int | None, to_ms: int | None, stores: Sequence[str]
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
    choose: Callable[..., Beginning], interval: Interval, *, now_ms: int, is_whole: bool
) -> Beginning:
    """All rows but those of the interval's windows from the newest snapshots there are, and these
    from the newest that were made by its begin; or from the input alone, where that `is_whole` and
    no snapshot is so old. `choose` takes the time by which snapshots were made, in ms since 1970,
    and `is_current`, as `choose_beginning` does.

    Raises as it does.
    """
    newest = choose(at_ms=now_ms, is_current=True)
    try:
        oldest = choose(at_ms=min(interval.from_ms, now_ms))
    except OperationRefusedError:
        if not is_whole:
            raise
        oldest = Beginning(begin=dict.fromkeys(newest.begin, 0))
    return Beginning(newest.seeds, oldest.begin, former=oldest.seeds, until=newest.begin)
