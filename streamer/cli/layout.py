"""`streamer show layout`: how many tasks each subtopology has, over which topics."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from streamer.cli.options import application
from streamer.cli.output import print_json, print_table, quiet_clients
from streamer.errors import ConfigError, OperationRefusedError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.control.layouts import LayoutRecord
    from streamer.operations.repartition.way_back import WayBack

__all__ = ["plain_way_back", "said_way_back", "show_layout"]


def show_layout(arguments: argparse.Namespace) -> int:
    """Print the layout that is recorded, or that none is."""
    config = application(arguments)
    from streamer.control.current import current_record
    from streamer.kafka.admin import Admin

    quiet_clients(arguments)
    record = current_record(config, Admin(config))
    back = _way_back(config, record) if record is not None and record.operation else None
    if arguments.json:
        print_json(_full(record) | ({"revert": plain_way_back(back)} if back is not None else {}))
    elif record is None:
        print("layout 1: none is recorded, so there is a task for each partition")
    else:
        by = f", by operation {record.operation}" if record.operation else ""
        print(f"layout {record.number}{by}")
        print_table(_short(record), ("subtopology", "tasks", "since", "mode", "reads"))
        if back is not None:
            print(f"\n{said_way_back(back)}")
    return 0


def plain_way_back(back: WayBack) -> dict[str, Any]:
    """Whether an operation can be reverted, as JSON can hold it."""
    return {
        "operation": back.operation,
        "possible": not back.why_not,
        "why_not": back.why_not,
        "routed": list(back.routed),
    }


def said_way_back(back: WayBack) -> str:
    """The same in a line."""
    if back.why_not:
        return f"{back.operation} cannot be reverted: {back.why_not}"
    topics = ", ".join(back.routed)
    how = f", by way of topics of the application's own instead of {topics}" if topics else ""
    how += ", once no strays are expected" if back.waits_for_strays else ""
    return f"{back.operation} can be reverted{how}: streamer repartition revert {back.operation}"


def _way_back(config: Config, record: LayoutRecord) -> WayBack:
    """Of the operation that recorded the layout. Who may read the layout alone is told that it is
    not known."""
    from streamer.operations.books import read_books
    from streamer.operations.repartition import way_back
    from streamer.operations.table import KafkaTable

    try:
        table = KafkaTable(config)
        try:
            books = read_books(table.application, table.read(to_end=False))
        finally:
            table.close()
        return way_back.look_back(config, books.operation(record.operation), books)
    except (ConfigError, OperationRefusedError) as error:
        return way_back.WayBack(record.operation, {}, f"not known here: {error.message}")


def _full(record: LayoutRecord | None) -> dict[str, Any]:
    if record is None:
        return {"number": 1, "is_recorded": False, "subtopologies": []}
    return {
        "number": record.number,
        "is_recorded": True,
        "operation": record.operation,
        "at_ms": record.at_ms,
        "subtopologies": [
            {
                "number": each.number,
                "tasks": each.tasks,
                "since": each.since,
                "mode": each.mode,
                "keeps_state": each.keeps_state,
                "inputs": [
                    {
                        "topic": one.topic,
                        "partitions": one.partitions,
                        "partitioner": one.partitioner,
                        "internal": one.internal,
                    }
                    for one in each.inputs
                ],
            }
            for each in record.subtopologies
        ],
    }


def _short(record: LayoutRecord) -> list[dict[str, Any]]:
    return [
        {
            "subtopology": each.number,
            "tasks": each.tasks,
            "since": each.since,
            "mode": each.mode,
            "reads": " ".join(f"{one.topic}:{one.partitions}" for one in each.inputs),
        }
        for each in record.subtopologies
    ]
