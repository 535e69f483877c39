"""The layout that holds at present: read, and written by one at a time.

    current_layout(config, admin)                    None where nothing is recorded
    write_layout(config, admin, layout.folded({0: 3}))

A layout has one successor. Who writes one has to name the number that follows the recorded one, and
the writer before it is fenced first: of two that write at a time one is refused, with nothing done.
"""

from __future__ import annotations

from streamer.clock import SystemClock
from streamer.config import Config
from streamer.control.layouts import (
    LAYOUT_KEY,
    LayoutRecord,
    decode_layout,
    encode_layout,
    layout_record,
)
from streamer.control.topics import layout_place, make_layout_topic
from streamer.errors import OperationRefusedError, TopicMissingError
from streamer.ids import FIRST_LAYOUT, TopicPartition, control_topic
from streamer.kafka.admin import Admin
from streamer.kafka.table import ExclusiveWriter, TableReader
from streamer.layout import ApplicationLayout

__all__ = [
    "check_successor",
    "current_layout",
    "current_record",
    "layout_row",
    "layout_writer",
    "write_layout",
]

_READ_S = 30.0


def current_record(config: Config, admin: Admin) -> LayoutRecord | None:
    """The record that was committed last; None where there is none.

    Raises InternalTopicError for one that cannot be read, and KafkaUnavailableError.
    """
    place = layout_place(config.application_id)
    try:
        admin.partitions([place.topic])
    except TopicMissingError:
        return None
    # Up to the high watermark: a commit is told before its markers are written.
    ends = admin.ends([place], "read_uncommitted")
    if not any(ends.values()):
        return None
    with TableReader(config, [place]) as reader:
        rows = reader.read_to(ends, timeout_s=_READ_S)
    if not rows or rows[-1].value is None:
        return None
    # The last record of all, whatever its key: what is not known must not be passed over.
    return decode_layout(place.topic, rows[-1].key, rows[-1].value)


def current_layout(config: Config, admin: Admin) -> ApplicationLayout | None:
    """As `current_record`: the layout in it."""
    record = current_record(config, admin)
    return None if record is None else record.layout


def layout_writer(application: str) -> str:
    """The transactional id under which layouts are recorded. Whoever initialises it holds the
    right to, and ends that of those before: what they had begun is aborted."""
    return control_topic(application, "layout")


def check_successor(
    application: str, layout: ApplicationLayout, recorded: ApplicationLayout | None
) -> None:
    """Raise OperationRefusedError for a layout that does not follow the one that holds."""
    number = FIRST_LAYOUT if recorded is None else recorded.number
    if layout.number != number + 1:
        raise OperationRefusedError(
            f"layout {layout.number} cannot follow layout {number}, which {application} runs",
            hint="plan again from the layout that holds: streamer show layout; nothing was changed",
        )


def layout_row(
    application: str, layout: ApplicationLayout, *, operation: str = "", at_ms: int = 0
) -> tuple[TopicPartition, str, bytes]:
    """What records this layout, for who writes it together with other rows in one transaction."""
    record = layout_record(application, layout, operation=operation, at_ms=at_ms)
    return layout_place(application), LAYOUT_KEY, encode_layout(record)


def write_layout(
    config: Config,
    admin: Admin,
    layout: ApplicationLayout,
    *,
    operation: str = "",
    timeout_s: float = 30.0,
) -> None:
    """Record the layout that follows the recorded one; the same again is done already.

    The workers that run stop processing when they read it, and begin anew with it: its topics and
    its state have to be there by then. Raises OperationRefusedError where another one holds by now,
    TopologyError for a layout that cannot be right, FencedError where another writes.
    """
    place, key, value = layout_row(
        config.application_id, layout, operation=operation, at_ms=SystemClock().now_ms()
    )
    make_layout_topic(config, admin)
    writer = ExclusiveWriter(config, layout_writer(config.application_id))
    try:
        writer.claim(timeout_s)
        # Whoever wrote before is fenced: nothing comes between this look and the record.
        recorded = current_layout(config, admin)
        if recorded == layout:
            return
        if recorded is not None or layout.number != FIRST_LAYOUT:
            check_successor(config.application_id, layout, recorded)
        writer.write([(place, key, value)])
    finally:
        writer.close()
