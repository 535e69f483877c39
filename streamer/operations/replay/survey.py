"""The request of a replay, as things are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from streamer.operations.replay.beginning import Beginning, choose_beginning
from streamer.operations.replay.request import ask_again
from streamer.topology.graph import Topology
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.replayed import Outputs
from streamer.topology.routed import routed

__all__ = ["survey"]


def survey(
    config: Config,
    topology: Topology,
    *,
    number: str,
    from_ms: int | None = None,
    outputs: Outputs = "off",
) -> Asked:
    """From the begin of the input, or from the snapshots that were made by `from_ms`. Raises as
    `ask_again` and `choose_beginning`, and as `partitions` where layout and topics do not fit.
    """
    if config.auto_offset_reset != "earliest" and from_ms is None:
        raise OperationRefusedError(
            f"auto_offset_reset is {config.auto_offset_reset}: the application has not begun at the"
            " begin of its topics, and where it has is not known any more",
            hint="what is computed from the begin would be another state: begin with snapshots, by"
            " --from TIME",
        )
    admin = Admin(config)
    recorded = current_layout(config, admin)
    topology = routed(topology, recorded)
    read, _written = external_topics(topology)
    planned = partitions(topology, admin.partitions(read), recorded)
    policies = admin.topic_settings(read)
    compacted = [t for t, one in policies.items() if "compact" in one.get("cleanup.policy", "")]
    widths = admin.partitions(read)
    places = [TopicPartition(topic, n) for topic, width in widths.items() for n in range(width)]
    starts, ends = admin.starts(places), admin.ends(places)

    def base(plans: Sequence[FeedPlan]) -> Beginning:
        assert from_ms is not None
        bounds = {place: Bounds(starts[place], ends[place]) for place in places}
        chosen = choose_beginning(config, plans, planned.layout, at_ms=from_ms, bounds=bounds)
        # Tasks that keep nothing have nothing to be computed again.
        live = admin.committed(config.application_id, set(places) - chosen.begin.keys())
        return replace(chosen, begin=live | dict(chosen.begin))

    asked = ask_again(
        topology,
        planned.layout,
        number=number,
        compacted=compacted,
        base=None if from_ms is None else base,
        outputs=outputs,
    )
    records = sum(max(ends[one] - asked.begin.get(str(one), starts[one]), 0) for one in places)
    with Control(config, reads_assignments=False) as control:
        size = sum(report.bytes for _worker, report in control.reports().values())
    return msgspec.structs.replace(asked, expected=Expected(records=records, bytes=size))
