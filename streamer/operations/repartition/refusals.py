"""What of a subtopology is not carried over into another layout, and is refused. Pure."""

from __future__ import annotations

from streamer.cluster.outline import is_elsewhere
from streamer.errors import OperationRefusedError
from streamer.ids import routed_name
from streamer.layout import SubtopologyLayout
from streamer.operations.repartition.finals import check_finals
from streamer.topology.declared import function_name
from streamer.topology.graph import Process, Subtopology

__all__ = ["by_own_keys", "check_carried", "check_code"]


def check_carried(subtopology: Subtopology, old: SubtopologyLayout, new: SubtopologyLayout) -> None:
    """Raise OperationRefusedError for what is not carried over from the one to the other yet."""
    number = subtopology.number
    if taken := _taken_over_by(subtopology):
        raise OperationRefusedError(
            f"subtopology {number} takes {taken} over for another one, as many tasks as the topic"
            " has partitions",
            hint="name the subtopology that the code has for this topic",
        )
    if new.mode == "grow" and not subtopology.stores:
        hint = "give the topic its partitions yourself, and start the workers again"
        if any(sink.is_internal and sink.partitions is None for sink in subtopology.sinks):
            hint = (
                "state lies by the topic that it is re-keyed into: fix the width of that in the"
                f' code first, .repartition("name", partitions={old.tasks}); then {hint}'
            )
        raise OperationRefusedError(
            f"subtopology {number} keeps no state, so nothing has to be moved", hint=hint
        )
    check_code(subtopology)
    check_finals(subtopology, old, new)


def check_code(subtopology: Subtopology) -> None:
    """Raise OperationRefusedError where whose a row is says a function of which only the name is
    known here."""
    for spec in subtopology.stores:
        if spec.partition_key is not None and is_elsewhere(spec.partition_key):
            raise OperationRefusedError(
                f"rows of store {spec.name} of subtopology {subtopology.number} belong to records"
                f" by {function_name(spec.partition_key)}, and the application's code is not here",
                hint="plan and apply it where that is: --app MODULE:APP",
            )


def by_own_keys(subtopology: Subtopology) -> list[str]:
    """The stores whose keys user code chooses."""
    nodes = subtopology.nodes
    return [spec.name for node in nodes if isinstance(node, Process) for spec in node.used]


def _taken_over_by(subtopology: Subtopology) -> str:
    """The topic that it takes over for a routed one; "" where it is no such."""
    own = [sink.topic for sink in subtopology.sinks if sink.is_internal]
    for topic in subtopology.topics:
        if own == [routed_name(topic)]:
            return topic
    return ""
