"""The request that takes a repartition back, as things are now."""

from __future__ import annotations

from msgspec.structs import replace

from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError
from streamer.operations.books import REPARTITION, Books
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.survey import survey
from streamer.operations.repartition.way_back import look_back
from streamer.topology.graph import Topology

__all__ = ["newest_done", "revert"]


def revert(
    config: Config, topology: Topology, record: OperationRecord, *, books: Books, number: str
) -> Asked:
    """Back to the numbers of tasks that there were before the operation of this `record`. Raises
    OperationRefusedError where it cannot be reverted, with what to do instead, and as `survey`."""
    back = look_back(config, record, books)
    if back.why_not:
        raise OperationRefusedError(
            f"repartition {record.id} cannot be reverted: {back.why_not}", hint=back.hint
        )
    asked = survey(config, topology, back.tasks, number=number, mode=back.modes)
    return replace(asked, reverts=record.id)


def newest_done(books: Books) -> OperationRecord:
    """The repartition that ended last. Raises OperationRefusedError where none is done."""
    kind = REPARTITION
    found = [one for one in books.operations.values() if (one.kind, one.state) == (kind, "done")]
    if not found:
        raise OperationRefusedError(
            "there is no repartition that is done",
            hint="before its switch one is taken back by: streamer repartition cancel",
        )
    return max(found, key=lambda one: (one.ended_ms, one.id))
