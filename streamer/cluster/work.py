"""What there is to distribute, and how the user wants it: the same on every worker of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamer.cluster.outline import outline_of
from streamer.cluster.plan import Policy
from streamer.cluster.steps import Limits
from streamer.config import Config
from streamer.control.outline import Outline
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.layout import ApplicationLayout
from streamer.topology.graph import Topology
from streamer.topology.shape import Shape, shape_of

__all__ = ["Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """All tasks of the application, those of them that have no state, and its topology's shape:
    workers of another one are no part of this cluster. `outline` is for those who have no code."""

    tasks: frozenset[TaskId]
    stateless: frozenset[TaskId] = frozenset()
    shape: Shape = field(default_factory=Shape)
    policy: Policy = field(default_factory=Policy)
    layout: Layout = FIRST_LAYOUT
    outline: Outline = ()

    @classmethod
    def of(
        cls,
        topology: Topology,
        tasks: Iterable[TaskId],
        config: Config,
        *,
        layout: ApplicationLayout | None = None,
    ) -> Work:
        """The work of an application whose inputs make these tasks, in this layout."""
        layout = layout or ApplicationLayout()
        every = frozenset(tasks)
        bare = {one.number for one in topology.subtopologies if not one.stores}
        stateless = frozenset(task for task in every if task.subtopology in bare)
        return cls(
            every,
            stateless,
            shape_of(topology, layout),
            _policy(config),
            layout.number,
            outline_of(topology),
        )


def _policy(config: Config) -> Policy:
    """The settings that the controller places tasks by."""
    return Policy(
        standby_replicas=config.standby_replicas,
        zone_policy="relaxed" if config.zone_policy == "relaxed" else "strict",
        delay_ms=config.rebalance_delay_ms,
        limits=Limits(
            warm_lag_max=config.acceptable_recovery_lag,
            building_max=config.max_warmup_replicas,
            building_per_worker_max=config.max_warmup_replicas_per_worker,
        ),
    )
