"""What the control topics of an application said together at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.orders import Order
from streamer.control.requests import DrainRecord, PlanRecord
from streamer.control.view import WorkerInfo
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books

__all__ = ["Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything but the states themselves. `at_ms` is when all of it had been read to the end.

    `assignments` is None while they have not been read: what nobody runs is not known then.
    `warm_lag` is how far a copy may be behind and still take over. `refused` says of each record
    that cannot be read why that is, by its key. `layout` is the one that is recorded.
    """

    application: str
    at_ms: int
    workers: Sequence[WorkerInfo] = ()
    statuses: Mapping[str, StatusRecord] = field(default_factory=dict)
    assignments: Mapping[str, AssignmentRecord] | None = None
    plan: PlanRecord | None = None
    drain: DrainRecord = field(default_factory=DrainRecord)
    orders: Sequence[Order] = ()
    books: Books = field(default_factory=Books)
    refused: Mapping[str, str] = field(default_factory=dict)
    warm_lag: int = 10_000
    layout: ApplicationLayout = field(default_factory=ApplicationLayout)
