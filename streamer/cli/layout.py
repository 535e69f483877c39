"""`streamer show layout`: how many tasks each subtopology has, over which topics."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from streamer.cli.options import application
from streamer.cli.output import print_json, print_table, quiet_clients

if TYPE_CHECKING:
    from streamer.control.layouts import LayoutRecord

__all__ = ["show_layout"]


def show_layout(arguments: argparse.Namespace) -> int:
    """Print the layout that is recorded, or that none is."""
    config = application(arguments)
    from streamer.control.current import current_record
    from streamer.kafka.admin import Admin

    quiet_clients(arguments)
    record = current_record(config, Admin(config))
    if arguments.json:
        print_json(_full(record))
    elif record is None:
        print("layout 1: none is recorded, so there is a task for each partition")
    else:
        by = f", by operation {record.operation}" if record.operation else ""
        print(f"layout {record.number}{by}")
        print_table(_short(record), ("subtopology", "tasks", "since", "mode", "reads"))
    return 0


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
