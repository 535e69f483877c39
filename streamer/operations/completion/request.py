"""What is to be deleted, by name: what records of repartitions say that their former layouts had.

A layout is never used again, and its number is in the names of its topics and directories. So what
one record names is nobody else's, and stays the same however often it is looked up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from streamer.control.numbers import Whole
from streamer.control.operations import OperationRecord
from streamer.control.orders import FormerOrder
from streamer.errors import OperationRefusedError
from streamer.ids import changelog_topic
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.own_topics import internal_topics
from streamer.operations.repartition.request import read_request as read_repartition

__all__ = ["Asked", "Part", "merged", "parts_of", "read_request"]

_FORGED = "somebody has written to the operations topic: find out who. Nothing was changed"

Text = Annotated[str, Meta(min_length=1)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `operation` has left of one subtopology, whose state was built for layout `since`."""

    operation: Text
    subtopology: Whole
    since: Annotated[int, Meta(ge=1)]
    topics: tuple[Text, ...]


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`operations` are the repartitions that are completed under this `layout`. Who reads these
    topics `despite` that is told, and they are deleted all the same. `bytes` were estimated when it
    was planned: of the topics, and of the directories on workers' disks."""

    application: Text
    layout: Annotated[int, Meta(ge=1)]
    operations: tuple[Text, ...]
    parts: tuple[Part, ...]
    despite: tuple[Text, ...] = ()
    bytes: Whole = 0
    disk_bytes: Whole = 0

    @property
    def topics(self) -> list[str]:
        return sorted({topic for part in self.parts for topic in part.topics})

    @property
    def left(self) -> dict[str, tuple[int, ...]]:
        """The layouts that each subtopology has left, as an order says it."""
        found: dict[str, set[int]] = defaultdict(set)
        for part in self.parts:
            found[str(part.subtopology)].add(part.since)
        return {number: tuple(sorted(layouts)) for number, layouts in sorted(found.items())}

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def parts_of(record: OperationRecord, layout: ApplicationLayout, *, of: str) -> list[Part]:
    """What a repartition of the application `of` has left, where this `layout` holds. Raises
    OperationRefusedError for what is in use, and for what can be no layout's of it."""
    asked = read_repartition(record.request)
    application, parts = asked.application, []
    if application != of:
        raise OperationRefusedError(
            f"operation {record.id} is about {application}, and stands in the records of {of}",
            hint=_FORGED,
        )
    stores = {plan.subtopology: plan.stores for plan in asked.feeds}
    for number in asked.moved:
        since = asked.before.layout.since(number)
        if layout.since(number) <= since:
            raise OperationRefusedError(
                f"subtopology {number} has not left layout {since}: layout {layout.number} holds",
                hint="streamer show layout tells what holds; nothing was changed",
            )
        former = [
            changelog_topic(application, store.name, since) for store in stores.get(number, ())
        ]
        own = internal_topics(application, asked.before.layout, number)
        parts.append(
            Part(
                operation=record.id,
                subtopology=number,
                since=since,
                topics=tuple(sorted([*former, *own])),
            )
        )
    _refuse_used(parts, application, layout)
    return parts


def _refuse_used(parts: list[Part], application: str, layout: ApplicationLayout) -> None:
    read = {
        topic
        for number, one in layout.subtopologies.items()
        for topic in [
            *internal_topics(application, layout, number),
            *(topic for topic, each in one.inputs.items() if not each.is_internal),
        ]
    }
    for part in parts:
        for topic in part.topics:
            if topic in read or not topic.startswith(f"{application}-"):
                raise OperationRefusedError(
                    f"operation {part.operation} names {topic} as one of a former layout of"
                    f" {application}, which it is not",
                    hint=_FORGED,
                )


def read_request(request: Mapping[str, Any]) -> Asked:
    """Raises OperationRefusedError for what is no request of a completion."""
    try:
        asked = msgspec.convert(dict(request), Asked)
    except msgspec.ValidationError as error:
        raise OperationRefusedError(
            f"this is no request of a completion: {error}",
            hint="make one with `streamer repartition complete`",
        ) from error
    if {part.operation for part in asked.parts} != set(asked.operations):
        raise OperationRefusedError(
            "this is no request of a completion: its parts are of other operations",
            hint="make one with `streamer repartition complete`",
        )
    return asked


def merged(asked: Asked, standing: FormerOrder | None) -> dict[str, tuple[int, ...]]:
    """All that was ever left, with this."""
    before = {} if standing is None else standing.left
    return {
        number: tuple(sorted({*before.get(number, ()), *asked.left.get(number, ())}))
        for number in sorted(before.keys() | asked.left.keys())
    }
