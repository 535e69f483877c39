"""Another number of tasks for the driver: what an operation `repartition` does, without workers.

The request, the feeds and the positions are those of the product. What its workers do beside them,
to keep copies and to pause, a driver that stands still does not need.
"""

from __future__ import annotations

from dataclasses import replace

from streamer.feed.fake import FakePorts
from streamer.feed.feed import Feed
from streamer.feed.plan import FeedPlan
from streamer.operations.repartition.code import specs_of
from streamer.operations.repartition.positions import next_positions, read_by
from streamer.operations.repartition.proofs import check_same, noted
from streamer.operations.repartition.request import Asked, ask
from streamer.testing.stage import Stage
from streamer.topology.partitions import external_topics, partitions

__all__ = ["folded"]

# In memory nothing is waited for.
_READ_BACK_S = 60.0


def folded(stage: Stage, tasks: int) -> Stage:
    """The stage with so many tasks for each part of the topology. All that was read has to be
    committed. Raises TopologyError and OperationRefusedError as `ask` does."""
    layout, broker = stage.planned.layout, stage.broker
    wanted = dict.fromkeys(layout.subtopologies, tasks)
    number = f"layout-{layout.number + 1}"
    asked = ask(stage.topology, layout, wanted, number=number, mode="fold")
    for topic, width in (*asked.changelogs.items(), *asked.repartition.items()):
        broker.create(topic, width)
    for plan in asked.feeds:
        _feed(plan, stage, asked)
    group = broker.groups.setdefault(asked.application, {})
    places = read_by(asked)
    group |= next_positions(asked, {place: group[place] for place in places if place in group})
    read, _written = external_topics(stage.topology)
    counted = {topic: broker.topics[topic] for topic in read}
    return replace(stage, planned=partitions(stage.topology, counted, asked.after.layout))


def _feed(plan: FeedPlan, stage: Stage, asked: Asked) -> None:
    """Copy the changelogs of all old tasks, and prove it."""
    ports = FakePorts(stage.broker)
    registry = stage.config.schema_registry
    specs = specs_of(asked, plan, code=lambda: stage.topology, registry=registry)
    starts = dict.fromkeys((one.name for one in plan.stores), 0)
    for task in range(plan.source.tasks):
        with Feed(plan, task, ports, specs=specs, starts=starts, clock=stage.clock) as feed:
            while not feed.caught_up():
                feed.step()
    check_same(plan, ports, noted(plan, ports), specs=specs, timeout_s=_READ_BACK_S)
