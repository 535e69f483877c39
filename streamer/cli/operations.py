"""`streamer operations`: what is being done to the state, what was done, and how to go on."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streamer.cli.options import (
    Commands,
    add_application,
    add_command,
    add_json,
    application,
    code_given,
)
from streamer.cli.output import moment, print_json, print_table, quiet_clients
from streamer.cli.progress import Display, progress_text, size, span, step_line
from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.control.plans import Plan
    from streamer.operations.books import Books
    from streamer.operations.executor import Executor
    from streamer.operations.repartition.code import Code

__all__ = ["add", "cancelled", "ended", "executing", "print_operation"]

_DETAILS = """\
An operation is a piece of maintenance that may be killed anywhere and resumed from any machine: its
record is in Kafka. One that changes the application as a whole runs alone.

  streamer operations list --app shop.stream:app
  streamer operations resume trim-9f3c01aa6b52 --app shop.stream:app
"""
_LOOK_S = 1.0
# What anybody looks back at; all of a month are kept.
_FINISHED_SHOWN = 50
_COLUMNS = ("id", "state", "scope", "step", "progress", "started", "by", "why")


def add(commands: Commands) -> None:
    group = add_command(
        commands, "operations", "list, resume and cancel operations", details=_DETAILS
    )
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    listed = add_command(
        verbs, "list", "show the operations, those that are finished too", execute=_list
    )
    listed.add_argument(
        "--all",
        action="store_true",
        help=f"also those that were finished before the last {_FINISHED_SHOWN}",
    )
    show = add_command(
        verbs, "show", "show the plan, the steps and the trouble of an operation", execute=_show
    )
    resume = add_command(
        verbs, "resume", "go on with an operation that was begun, to its end", execute=_resume
    )
    cancel = add_command(
        verbs, "cancel", "stop an operation and take back what it did", execute=_cancel
    )
    for verb in (show, resume, cancel):
        verb.add_argument("id", metavar="ID", help="of the operation, as `list` shows it")
    for verb in (resume, cancel):
        verb.add_argument(
            "--take-over",
            action="store_true",
            help="also from a process that was heard of late: it is fenced",
        )
    resume.add_argument(
        "--wait",
        action="store_true",
        help="wait while another process carries it out, and go on if that one ends before it",
    )
    cancel.add_argument("--why", metavar="TEXT", default="", help="for those who look later")
    cancel.add_argument(
        "--abandon",
        action="store_true",
        help="give it up as it is, without taking anything back",
    )
    cancel.add_argument(
        "--detach", action="store_true", help="do not wait for the process that takes it back"
    )
    for verb in (listed, show, resume, cancel):
        add_application(verb)
        add_json(verb)


@contextmanager
def executing(arguments: argparse.Namespace) -> Iterator[tuple[Executor, Display]]:
    """An executor whose operations are shown as they go on, and paused by signals."""
    config = application(arguments)
    quiet_clients(arguments)
    display = Display(sys.stderr)
    with _made(config, display, code_given(arguments)) as executor, _paused_by_sigterm():
        try:
            yield executor, display
        finally:
            display.close()


@contextmanager
def _paused_by_sigterm() -> Iterator[None]:
    """As Ctrl-C: the operation is left at once, and not held until a lease is over."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _made(config: Config, display: Display, code: Code | None = None) -> Executor:
    from streamer.operations.catalog import all_kinds
    from streamer.operations.executor import Executor
    from streamer.operations.table import KafkaTable

    return Executor(config, KafkaTable(config), all_kinds(code), notice=display.show)


def _list(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        books = executor.books()
    records = sorted(books.operations.values(), key=lambda one: (one.planned_ms, one.id))
    finished = sorted((one.ended_ms, one.id) for one in records if one.is_finished)
    older = {name for _ended_ms, name in finished[:-_FINISHED_SHOWN]} if not arguments.all else ()
    records = [one for one in records if one.id not in older]
    if arguments.json:
        print_json([_plain(each, books) for each in records])
    else:
        print_table([_row(each, books) for each in records], _COLUMNS)
        if older:
            print(f"and {len(older)} that were finished before: --all", file=sys.stderr)
    for error in books.refused.values():
        print(f"streamer: {error.describe()}", file=sys.stderr)
    return 0


def _row(record: OperationRecord, books: Books) -> dict[str, Any]:
    active = next((one for one in record.steps if one.state in ("running", "undoing")), None)
    return {
        "id": record.id,
        "state": _state(record, books),
        "scope": record.plan.scope,
        "step": active.id if active else "",
        "progress": progress_text(active.progress) if active and active.progress else "",
        "started": moment(record.started_ms) if record.started_ms else "",
        "by": record.by,
        "why": record.why,
    }


def _state(record: OperationRecord, books: Books) -> str:
    from streamer.overview.work import state_of

    return state_of(record, is_live=_is_live(record, books))


def _is_live(record: OperationRecord, books: Books) -> bool:
    return books.is_live(record.id, time.time_ns() // 1_000_000)


def _show(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        books = executor.books()
    print_operation(arguments, books.operation(arguments.id), books)
    return 0


def print_operation(
    arguments: argparse.Namespace,
    record: OperationRecord,
    books: Books,
    *,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Its plan, its steps and its trouble; JSON with these fields more."""
    if arguments.json:
        print_json({**_plain(record, books), **(more or {})})
        return
    print(f"operation {record.id}: {_state(record, books)}, scope {record.plan.scope}")
    print(f"asked for by {record.by or '-'} at {moment(record.planned_ms)}: {record.why or '-'}")
    if record.executor:
        print(f"carried out by {record.executor}, epoch {record.epoch}; {step_line(record)}")
    if record.conductor:
        print(f"carried out last for {record.conductor}")
    _print_plan(record.plan)
    print()
    rows = [
        {
            "step": step.id,
            "state": step.state,
            "begun": step.begun,
            "what": planned.summary,
            "said": step.said or (progress_text(step.progress) if step.progress else ""),
        }
        for step, planned in zip(record.steps, record.plan.steps, strict=True)
    ]
    print_table(rows, ("step", "state", "begun", "what", "said"))
    if record.note:
        print(f"\n{record.note}")
    if record.left:
        print(f"left as they were: the effects of {', '.join(record.left)}")
    if record.trouble is not None:
        where = f"step {record.trouble.step}: " if record.trouble.step else ""
        print(f"\n{where}{record.trouble.message}\nhint: {record.trouble.hint}")
    elif not record.is_finished and record.state != "planned" and not _is_live(record, books):
        print(f"\nnobody carries it out: streamer operations resume {record.id}")


def _print_plan(plan: Plan) -> None:
    cost = plan.cost
    parts = [
        f"{size(cost.bytes)}" if cost.bytes else "",
        f"{cost.records:,} records" if cost.records else "",
        f"about {span(cost.seconds)}" if cost.seconds else "",
        f"a pause of about {cost.pause_ms} ms" if cost.pause_ms else "",
    ]
    print(f"plan {plan.id[:12]}: {', '.join(filter(None, parts)) or 'no cost to speak of'}")
    if plan.no_return:
        print(f"no way back after step {plan.no_return}: {'; '.join(plan.lost)}".rstrip(": "))


def _resume(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, _display):
        record = executor.resume(arguments.id, takes_over=arguments.take_over, waits=arguments.wait)
        return ended(arguments, record, executor.books(), wanted="done")


def _cancel(arguments: argparse.Namespace) -> int:
    with executing(arguments) as (executor, display):
        how = {"why": arguments.why, "takes_over": arguments.take_over}
        if arguments.abandon:
            record = executor.abandon(arguments.id, **how)
        else:
            waits = not arguments.detach
            record = cancelled(executor, display, arguments.id, waits=waits, **how)
        if arguments.detach and not record.is_finished:
            print(f"operation {record.id} is asked to stop", file=sys.stderr)
            return 0
        return ended(arguments, record, executor.books(), wanted="cancelled")


def cancelled(
    executor: Executor, display: Display, operation: str, *, waits: bool = True, **how: Any
) -> OperationRecord:
    """Have it cancelled, whoever carries it out; `how` as `Executor.cancel` has it."""
    record = executor.cancel(operation, **how)
    while waits and not (record.is_finished or record.trouble):
        time.sleep(_LOOK_S)
        record = _followed(executor, display, operation)
    return record


def _followed(executor: Executor, display: Display, operation: str) -> OperationRecord:
    """How far the process is that was asked to cancel; or the cancelling itself, where that process
    is gone."""
    books = executor.books()
    record = books.operation(operation)
    display.show(record)
    if record.is_finished or _is_live(record, books):
        if not record.is_finished and record.note and books.cancel(operation) is None:
            raise OperationRefusedError(
                f"operation {operation} cannot be cancelled: {record.note}",
                hint=f"it goes on: streamer operations show {operation}",
            )
        return record
    return executor.cancel(operation)


def ended(
    arguments: argparse.Namespace, record: OperationRecord, books: Books, *, wanted: str
) -> int:
    """Print how it ended; the exit code."""
    if arguments.json:
        print_json(_plain(record, books))
    elif record.state == wanted:
        print(f"operation {record.id} is {record.state}")
    if record.state == wanted:
        return 0
    trouble = record.trouble
    reason = f": {trouble.message}" if trouble else f": {record.note}" if record.note else ""
    print(f"streamer: operation {record.id} is {record.state}{reason}", file=sys.stderr)
    if trouble is not None and trouble.hint:
        print(f"hint: {trouble.hint}", file=sys.stderr)
    return 1


def _plain(record: OperationRecord, books: Books) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(record)
    return {**plain, "is_live": _is_live(record, books)}
