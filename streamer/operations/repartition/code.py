"""What of the application's code its feeds need: whose row a key of a store is.

A store that `process` fills under keys of its own names a function, `Store(partition_key=...)`,
which only the code has. Whoever carries a repartition of such stores out is given the code; all
others know the function's name, and are refused by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamer.errors import OperationRefusedError
from streamer.feed.plan import FeedPlan
from streamer.ids import changelog_topic, repartition_topic
from streamer.operations.repartition.request import Asked
from streamer.topology.graph import Source, Topology
from streamer.topology.routed import routed
from streamer.topology.shape import shape_of
from streamer.topology.stores import StoreSpec

__all__ = ["Code", "specs_of"]

Code = Callable[[], Topology]
"""Gives the topology of the application's code; called once somebody needs it."""


def specs_of(
    asked: Asked, plan: FeedPlan, *, code: Code | None, registry: Mapping[str, Any]
) -> Sequence[StoreSpec]:
    """The stores of a plan whose rows belong by a function, with bound serdes; none where there is
    no such store, or no code. `registry` are the settings of the schema registry.

    Raises OperationRefusedError where the code has another topology than this was planned for.
    """
    named = {store.name for store in plan.stores if store.partition_key}
    if not named or code is None:
        return ()
    layout = asked.before.layout
    # Not the routed one: what takes records over leaves their keys as producers wrote them.
    topology = code()
    if shape_of(routed(topology, layout), layout).digest != asked.shape:
        raise OperationRefusedError(
            "the code that was given has another topology than this was planned for",
            hint="give that which the workers have: --app MODULE:APP",
        )
    part = topology.subtopologies[plan.subtopology]
    topic = _written_by_producers(topology.application_id, part.sources[0])
    found = []
    for spec in part.stores:
        if spec.name in named:
            # The names of layout 1: what a registry knows keys by does not change with a layout.
            changelog = changelog_topic(topology.application_id, spec.name)
            record_key = spec.record_key and spec.record_key.bind(topic, True, registry)
            key = spec.key.bind(changelog, True, registry)
            found.append(replace(spec, key=key, record_key=record_key))
    return found


def _written_by_producers(application: str, source: Source) -> str:
    """One of the topics whose keys the rows belong to: all of them have keys of the same bytes."""
    topic = source.topics[0]
    return repartition_topic(application, topic) if source.is_internal else topic
