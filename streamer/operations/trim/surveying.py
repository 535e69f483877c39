"""A survey of a running application, weighed: what the command line and a conductor plan by."""

from __future__ import annotations

from collections.abc import Callable, Collection

from streamer.config import Config
from streamer.operations.trim import sizes
from streamer.operations.trim.survey import Survey, survey
from streamer.operations.trim.world import Tells, World

__all__ = ["surveyed"]

Counting = Callable[[str], Tells]
"""Of what is counted, such as "logs weighed": who is told of how many are done, of how many."""


def _silent(_what: str) -> Tells:
    return lambda _done, _total: None


def surveyed(
    config: Config,
    world: World,
    *,
    stores: Collection[str] = (),
    partitions: Collection[int] = (),
    is_capped: bool = True,
    counting: Counting = _silent,
) -> Survey:
    """Look at the changelogs, and weigh what may go. Nothing is changed; raises as `survey`."""
    return survey(
        world,
        stores=stores,
        partitions=partitions,
        is_capped=is_capped,
        sizes=lambda stretches: sizes.sampled_sizes(
            config, stretches, tells=counting("logs weighed")
        ),
        tells=counting("tasks looked at"),
    )
