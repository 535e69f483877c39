"""The request of a replay, as things are now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.errors import OperationRefusedError
from streamer.feed.plan import FeedPlan
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.changelog import Bounds
from streamer.operations.repartition.request import Asked, Expected
from streamer.operations.replay.beginning import (
    Beginning,
    choose_beginning,
    first_hint,
    first_possible_ms,
)
from streamer.operations.replay.interval import asked_interval, for_interval
from streamer.operations.replay.request import ask_again, bases_of, unreachable
from streamer.topology.graph import Topology
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.replayed import Outputs
from streamer.topology.routed import routed

__all__ = ["Survey", "survey"]

_SHOWN = 5
_NO_SNAPSHOTS = (
    "what it has lost cannot be computed again; nor can it begin with snapshots, since tasks read"
    " what others have sent"
)


class Survey(NamedTuple):
    """The request, and what there is of each partition of the input."""

    asked: Asked
    reach: Mapping[TopicPartition, Bounds]


def _lost(starts: Mapping[TopicPartition, int], hint: str) -> OperationRefusedError:
    """Of partitions that have lost their begin."""
    shown = ", ".join(
        f"{place} begins at {start}" for place, start in list(starts.items())[:_SHOWN]
    )
    return OperationRefusedError(
        f"the input does not reach back to its begin any more: {shown}"
        + f" and {len(starts) - _SHOWN} others" * (len(starts) > _SHOWN),
        hint=hint,
    )


def _check_begin(config: Config) -> None:
    if config.auto_offset_reset != "earliest":
        raise OperationRefusedError(
            f"auto_offset_reset is {config.auto_offset_reset}: the application has not begun at the"
            " begin of its topics, and where it has is not known any more",
            hint="what is computed from the begin would be another state: begin with snapshots, by"
            " --from TIME",
        )


def survey(
    config: Config,
    topology: Topology,
    *,
    number: str,
    from_ms: int | None = None,
    to_ms: int | None = None,
    stores: Sequence[str] = (),
    layout_max: int | None = None,
    outputs: Outputs = "off",
) -> Survey:
    """From the begin of the input, or from the snapshots that were made by `from_ms` in layouts up
    to `layout_max`. With `to_ms` no more than the windows of `stores` that begin in between, of all
    that have such windows where none is named. Raises as `ask_again` and `choose_beginning`, and as
    `partitions` where layout and topics do not fit.
    """
    is_from_begin = from_ms is None and to_ms is None
    if is_from_begin:
        _check_begin(config)
    admin = Admin(config)
    recorded = current_layout(config, admin)
    topology = routed(topology, recorded)
    read, _written = external_topics(topology)
    widths = admin.partitions(read)
    planned = partitions(topology, widths, recorded)
    interval = asked_interval(topology, from_ms=from_ms, to_ms=to_ms, stores=stores)
    policies = admin.topic_settings(read)
    compacted = [t for t, one in policies.items() if "compact" in one.get("cleanup.policy", "")]
    places = [TopicPartition(topic, n) for topic, width in widths.items() for n in range(width)]
    starts, ends = admin.starts(places), admin.ends(places)
    reach = {place: Bounds(starts[place], ends[place]) for place in places}

    def base(plans: Sequence[FeedPlan]) -> Beginning:
        def choose(of: Sequence[FeedPlan], **given: Any) -> Beginning:
            return choose_beginning(
                config, of, planned.layout, bounds=reach, layout_max=layout_max, **given
            )

        def is_whole(of: Collection[TopicPartition]) -> bool:
            return config.auto_offset_reset == "earliest" and not any(starts[one] for one in of)

        if interval is None:
            chosen = choose(plans, at_ms=from_ms or 0)
        else:
            chosen = for_interval(choose, interval, plans, is_whole=is_whole)
        # Tasks that keep nothing have nothing to be computed again.
        live = admin.committed(config.application_id, set(places) - chosen.begin.keys())
        until = live | dict(chosen.until) if interval is not None else {}
        return replace(chosen, begin=live | dict(chosen.begin), until=until)

    asked = ask_again(
        topology,
        planned.layout,
        number=number,
        compacted=compacted,
        base=None if is_from_begin else base,
        outputs=outputs,
        interval=interval,
    )
    if lost := unreachable(starts, asked.begin):
        hint = _NO_SNAPSHOTS
        if not topology.internal_sources:
            plans = bases_of(topology, asked.feeds, before=planned.layout, after=asked.after.layout)
            hint = first_hint(first_possible_ms(config, plans, planned.layout, bounds=reach))
        raise _lost({place: starts[place] for place in lost}, hint)
    records = sum(max(ends[one] - asked.begin.get(str(one), starts[one]), 0) for one in places)
    with Control(config, reads_assignments=False) as control:
        size = sum(report.bytes for _worker, report in control.reports().values())
    expected = Expected(records=records, bytes=size)
    return Survey(msgspec.structs.replace(asked, expected=expected), reach)
