"""`streamer show`: who works, on what, how far they are. It only reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.cli.client import ask
from streamer.cli.options import (
    Commands,
    add_application,
    add_command,
    add_json,
    application,
)
from streamer.cli.output import duration, print_json, print_table, quiet_clients

if TYPE_CHECKING:
    from streamer.control.client import Control

__all__ = ["add"]

_DETAILS = """\
The answers come from the application's control topics, so any machine that reaches Kafka can ask;
only `stores` asks the workers themselves.

  streamer show tasks --app shop.stream:app
"""

Rows = list[dict[str, Any]]


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "show",
        "show the workers, tasks, lag or stores of an application",
        details=_DETAILS,
    )
    things = command.add_subparsers(title="things", metavar="THING", required=True)
    for name, summary, execute in (
        ("workers", "show the workers: alive or not, controller, zone, tasks, lag", _workers),
        ("tasks", "show the tasks: owner, state, lag, what is left to restore", _tasks),
        ("lag", "show how many records each task has yet to read, also while none runs", _lag),
        ("stores", "show the stores: kind, types, tasks, approximate number of rows", _stores),
    ):
        thing = add_command(things, name, summary, execute=_executed(execute))
        add_application(thing)
        add_json(thing)


def _executed(
    show: Callable[[Control], tuple[Rows, Rows, tuple[str, ...]]],
) -> Callable[[argparse.Namespace], int]:
    """Ask, and print the full rows as JSON or the short ones as a table."""

    def execute(arguments: argparse.Namespace) -> int:
        config = application(arguments)
        from streamer.control.client import Control

        quiet_clients(arguments)
        with Control(config) as control:
            full, short, columns = show(control)
        if arguments.json:
            print_json(full)
        else:
            print_table(short, columns)
        return 0

    return execute


def _workers(control: Control) -> tuple[Rows, Rows, tuple[str, ...]]:
    full = [_plain(each) for each in control.workers()]
    short = [
        {
            **row,
            "alive": row["is_alive"],
            "controller": row["is_controller"],
            "tasks": len(row["tasks"]),
            "heard": duration(row["status_age_ms"]),
        }
        for row in full
    ]
    columns = ("worker", "alive", "controller", "zone", "address", "tasks", "lag_records", "heard")
    return full, short, columns


def _tasks(control: Control) -> tuple[Rows, Rows, tuple[str, ...]]:
    full = [_plain(each) for each in control.tasks()]
    short = [{**row, "moving": row["is_moving"]} for row in full]
    columns = ("task", "worker", "state", "lag_records", "restore_left_records", "moving")
    return full, short, columns


def _lag(control: Control) -> tuple[Rows, Rows, tuple[str, ...]]:
    workers = {each.task: each.worker for each in control.tasks()}
    full: Rows = [
        {"task": task, "worker": workers.get(task, ""), "lag_records": records}
        for task, records in control.lag().items()
    ]
    said = [row["lag_records"] for row in full]
    total = {"task": "all", "lag_records": control.unread() if None in said else sum(said)}
    return full, [*full, total] if full else [], ("task", "worker", "lag_records")


def _stores(control: Control) -> tuple[Rows, Rows, tuple[str, ...]]:
    found: dict[str, dict[str, Any]] = {}
    for worker in control.workers():
        if not (worker.is_alive and worker.address):
            continue
        for store in ask(worker.address, "/stores")["stores"]:
            known = found.setdefault(store["name"], {**store, "tasks": []})
            known["tasks"] += [{**task, "worker": worker.worker} for task in store["tasks"]]
    full: Rows = [found[name] for name in sorted(found)]
    short = [
        {
            "store": store["name"],
            "kind": store["kind"],
            "key": store["key"],
            "value": store["value"],
            "tasks": len(store["tasks"]),
            "rows": sum(int(task["approximate_rows"]) for task in store["tasks"]),
        }
        for store in full
    ]
    return full, short, ("store", "kind", "key", "value", "tasks", "rows")


def _plain(record: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
