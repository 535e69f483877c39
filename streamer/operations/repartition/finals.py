"""Stores with final results, where tasks become fewer: what is refused, and what there is room for
(docs/decisions/0055)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from streamer.control.numbers import Whole
from streamer.errors import OperationRefusedError
from streamer.layout import SubtopologyLayout
from streamer.split.move import closing_lags
from streamer.store.closing import Closing, Passed
from streamer.task.metadata import Metadata, input_mark, marks, store_mark
from streamer.topology.graph import Aggregate, Subtopology
from streamer.topology.reach import reaches_windows
from streamer.topology.stores import StoreKind

__all__ = ["FinalStore", "check_finals", "finals_of"]

# What brokers take beside a position by default (offset.metadata.max.bytes).
_NOTE_MAX = 4096


class FinalStore(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store that passes on final results."""

    subtopology: Whole
    name: str
    kind: StoreKind


def finals_of(subtopology: Subtopology) -> list[FinalStore]:
    kinds = {spec.name: spec.kind for spec in subtopology.stores}
    return [
        FinalStore(subtopology=subtopology.number, name=store, kind=kinds[store])
        for store in closing_lags(subtopology)
    ]


def check_finals(subtopology: Subtopology, old: SubtopologyLayout, new: SubtopologyLayout) -> None:
    """Raise OperationRefusedError where final results would be lost, or too much is to be known of
    them, if tasks are made of those of the `old` layout."""
    number, finals = subtopology.number, finals_of(subtopology)
    parents = max(len(old.parents(task, new)) for task in range(new.tasks))
    if finals and parents > 1 and not old.known_partitioner:
        raise OperationRefusedError(
            f"a task of subtopology {number} would be made of {parents}, and store"
            f" {finals[0].name} passes on final results of keys that {old.partitioner} places:"
            " which of them were passed on is carried over by a hash alone",
            hint="where the topics stay as they are, a multiple of the tasks that it has keeps each"
            " of them apart; such topics cannot grow",
        )
    if parents > 1 and (on := _going_on(subtopology)):
        raise OperationRefusedError(
            f"a task of subtopology {number} would be made of {parents}, and final results of store"
            f" {on} come to other windows, for which those of one that lags would be too late",
            hint="a multiple of the tasks that it has keeps each of them apart",
        )
    if finals and len(_longest_note(subtopology, finals, parents)) > _NOTE_MAX:
        raise OperationRefusedError(
            f"a task of subtopology {number} would be made of {parents}, and {len(finals)} of its"
            " stores pass on final results: how far each had come has no room beside a position",
            hint="go there by way of a number between the two",
        )


def _going_on(subtopology: Subtopology) -> str:
    """A store with final results that come to another windowed aggregation; "" without one."""
    return next(
        (
            node.store.name
            for node in subtopology.nodes
            if isinstance(node, Aggregate)
            and node.emit == "final"
            and reaches_windows(node, subtopology)
        ),
        "",
    )


def _longest_note(subtopology: Subtopology, finals: Sequence[FinalStore], parents: int) -> str:
    """What may stand beside a position while results of parents are left, at its longest."""
    time_ms = 1 << 43
    of = [store_mark(one.name, one.kind) for one in finals]
    known = Passed(1 << 16, "murmur2", dict.fromkeys(range(parents), -1))
    topics = subtopology.topics
    return Metadata(
        time_ms,
        marks([*topics, *(f"{topic}-strays" for topic in topics)], subtopology.stores),
        closings=dict.fromkeys(of, Closing(0, 1 << 24)),
        forwarded={input_mark(topic): 1 << 50 for topic in topics},
        stray_ms=time_ms,
        is_quiet=True,
        passed=dict.fromkeys(of, known),
    ).encode()
