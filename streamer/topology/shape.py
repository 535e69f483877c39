"""What decides which task owns what: the subtopologies in their order, with inputs and stores.

Task `1_0` is a place in this order. Workers that place the same input or store elsewhere would own
it under two ids at once, so all workers that run at a time have one shape. Functions, serdes and
outputs are not part of it: they may change from one worker to the next. A later layout is: its
tasks have the names of others of before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest

from streamer.errors import TopologyChangedError
from streamer.layout import ApplicationLayout, SubtopologyLayout
from streamer.topology.graph import Subtopology, Topology

__all__ = ["Shape", "shape_of"]

_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """One text for each subtopology. Without any it is unknown, and goes with every other."""

    parts: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The same for the same parts, in every process and release; "" where it is unknown."""
        return sha256("\n".join(self.parts).encode()).hexdigest()[:16] if self.parts else ""

    def differs(self, digest: str) -> bool:
        return bool(self.parts and digest) and digest != self.digest

    def refusal(self, running: Sequence[str]) -> TopologyChangedError:
        """Why a worker of this shape may not run beside those of the other."""
        return TopologyChangedError(
            f"the running workers have another topology: {_differences(running, self.parts)}",
            hint="stop them all before a worker of this topology starts, or begin under another"
            " application id: side by side, both would process the same records. Nothing was"
            " processed here",
        )


def shape_of(topology: Topology, layout: ApplicationLayout | None = None) -> Shape:
    known = (layout or ApplicationLayout()).subtopologies
    return Shape(tuple(_part(one, known.get(one.number)) for one in topology.subtopologies))


def _part(subtopology: Subtopology, layout: SubtopologyLayout | None) -> str:
    # Where two lists are the same but for their order, nothing moves.
    read = sorted(
        f"{topic} (internal)" if source.is_internal else topic
        for source in subtopology.sources
        for topic in source.topics
    )
    stores = sorted(spec.name for spec in subtopology.stores)
    internal = sorted(sink.topic for sink in subtopology.sinks if sink.is_internal)
    named = [("reads", read), ("keeps", stores), ("re-keys to", internal)]
    parts = [f"{verb} {', '.join(names)}" for verb, names in named if names]
    if layout is not None and not layout.is_first:
        parts.append(f"runs as {layout.tasks} tasks of layout {layout.since}")
    return "; ".join(parts)


def _differences(running: Sequence[str], own: Sequence[str]) -> str:
    if not running:
        return "they do not say which"
    differing = [
        f"subtopology {number} {there or 'does not exist'}, but here {here or 'does not exist'}"
        for number, (there, here) in enumerate(zip_longest(running, own))
        if there != here
    ]
    more = len(differing) - _NAMED_MAX
    return "; ".join(differing[:_NAMED_MAX]) + (f"; and {more} more differ" if more > 0 else "")
