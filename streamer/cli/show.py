"""`streamer show`: who works, on what, how far they are. It only reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.cli.client import ask
from streamer.cli.layout import show_layout
from streamer.cli.options import (
    Commands,
    add_application,
    add_command,
    add_json,
    application,
)
from streamer.cli.output import duration, moment, print_json, print_table, quiet_clients
from streamer.cli.wish import stopped_drain
from streamer.errors import OperationRefusedError

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
        ("workers", "show the workers: alive or not, controller, place, tasks, copies", _workers),
        ("tasks", "show the tasks: owner, state, lag, what is left to restore, copies", _tasks),
        ("shadows", "show the copies of tasks of the next layout, and how far they are", _shadows),
        ("lag", "show how many records each task has yet to read, also while none runs", _lag),
        ("stores", "show the stores: kind, types, tasks, approximate number of rows", _stores),
    ):
        thing = add_command(things, name, summary, execute=_executed(execute))
        add_application(thing)
        add_json(thing)
    summary = "show what is not as it should be, the worst first, and what to do"
    alarms = add_command(things, "alarms", summary, execute=_alarms)
    add_application(alarms)
    add_json(alarms)
    summary = "show the layout: how many tasks there are, over which topics"
    layout = add_command(things, "layout", summary, execute=show_layout)
    add_application(layout)
    add_json(layout)
    summary = "show what is being moved and why, and what is not as it should be"
    moves = add_command(things, "moves", summary, execute=_moves)
    add_application(moves)
    add_json(moves)


def _alarms(arguments: argparse.Namespace) -> int:
    config = application(arguments)
    from streamer.overview.alarms import alarms
    from streamer.overview.fleet import Fleet
    from streamer.overview.watch import Watch

    quiet_clients(arguments)
    with Watch(config) as watch:
        watch.read_assignments()
        found = alarms(Fleet(watch.look()))
    if arguments.json:
        print_json([_plain(each) for each in found])
        return 0
    if not found:
        print("all is as it should be")
    for each in found:
        since = f", since {moment(each.since_ms)}" if each.since_ms else ""
        number = f"{each.count:,} " if each.count > 1 else ""
        some = f": {', '.join(each.examples)}" if each.examples else ""
        print(f"{each.level}: {number}{each.what}{some}{since}")
        if each.todo:
            print(f"  {each.todo}")
    return 0


def _moves(arguments: argparse.Namespace) -> int:
    config = application(arguments)
    from streamer.control.operator import Operator

    quiet_clients(arguments)
    with Operator(config) as operator:
        plan, drain = operator.plan(), operator.draining()
    if plan is None:
        raise OperationRefusedError(
            "no controller has told its plan yet", hint="ask again when a worker runs"
        )
    full = _plain(plan)
    if arguments.json:
        print_json(full)
        return 0
    print_table(full.get("moves", ()), ("task", "kind", "source", "target", "left", "bytes", "why"))
    more = plan.moves_left - len(plan.moves)
    if more > 0:
        print(f"... and {more} more")
    if plan.waiting:
        print(f"{plan.waiting} copies wait: max_warmup_replicas are being built")
    for name, listed in (("waited for", plan.away), ("drained", plan.draining)):
        if listed:
            print(f"{name}: {', '.join(listed)}")
    if stopped := drain.stopped(plan.halted):
        print(stopped_drain(stopped))
    for worker, why in sorted(plan.idle.items()):
        print(f"{worker} is given nothing: {why}")
    for mode in plan.modes:
        some = ", ".join(mode.examples)
        print(f"{mode.name} since {moment(mode.since_ms)}: {mode.concerns} ({some});", end=" ")
        print(f"ends when {mode.until}")
    return 0


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
            "standbys": len(row["standbys"]),
            "heard": duration(row["status_age_ms"]),
        }
        for row in full
    ]
    columns = ("worker", "alive", "controller", "zone", "host", "capacity", "address")
    return full, short, (*columns, "tasks", "standbys", "lag_records", "heard")


def _tasks(control: Control) -> tuple[Rows, Rows, tuple[str, ...]]:
    full = [_plain(each) for each in control.tasks()]
    short = [
        {**row, "moving": row["is_moving"], "standbys": _copies(row["standbys"])} for row in full
    ]
    columns = ("task", "worker", "state", "lag_records", "restore_left_records", "moving")
    return full, short, (*columns, "standbys")


def _copies(standbys: dict[str, int | None]) -> str:
    """`worker:lag` of each copy, the warmest first; a lag that is not known is `?`."""
    by_lag = sorted(standbys.items(), key=lambda one: (one[1] is None, one[1]))
    return " ".join(f"{worker}:{'?' if lag is None else lag}" for worker, lag in by_lag)


def _shadows(control: Control) -> tuple[Rows, Rows, tuple[str, ...]]:
    full = [_plain(each) for each in control.shadows()]
    short = [{**row, "current": row["is_current"]} for row in full]
    return full, short, ("task", "worker", "state", "lag_records", "current", "bytes", "operation")


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
            "tasks": len(_own(store)),
            "rows": sum(int(task["approximate_rows"]) for task in _own(store)),
        }
        for store in full
    ]
    return full, short, ("store", "kind", "key", "value", "tasks", "rows")


def _own(store: dict[str, Any]) -> Rows:
    """The tasks of a store without their copies, whose rows would count twice."""
    return [task for task in store["tasks"] if task["state"] != "standby"]


def _plain(record: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
