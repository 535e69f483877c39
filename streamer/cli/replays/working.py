"""`streamer replay work`: workers that read the input again, for as long as the replay needs it."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from streamer.cli.options import (
    Commands,
    add_command,
    add_configuration,
    add_processes,
    add_target,
    resolved,
)
from streamer.cli.replays.choosing import KIND
from streamer.cli.replays.processes import command
from streamer.cli.target import load_app
from streamer.errors import OperationRefusedError, StreamerError

if TYPE_CHECKING:
    from streamer.config import Config
    from streamer.control.operations import OperationRecord
    from streamer.operations.executor import Executor
    from streamer.operations.repartition.request import Asked
    from streamer.topology.graph import Topology

__all__ = ["add"]

_log = logging.getLogger(__name__)

_POLICIES = ("deserialization_error", "processing_error", "production_error")
_COMMIT_MS = 100
_LOOK_S = 1.0
_HEADER = "streamer-replay"
_DETAILS = """\
Any number of them on any hosts, with the code that the state is to be computed with. They wait
until the replay is applied, and end by themselves once it is over. Their state is in state_dir
beside that of the application, and is removed then.

  streamer replay work replay-9f3c01aa6b52 shop.stream:app --processes 4
"""


def add(verbs: Commands) -> None:
    work = add_command(
        verbs,
        "work",
        "run workers that read the input again for a replay",
        details=_DETAILS,
        execute=_work,
    )
    work.add_argument("id", metavar="ID", help="of the operation, as `plan` printed it")
    add_target(work)
    add_processes(work)
    add_configuration(work)


def _work(arguments: argparse.Namespace) -> int:
    app = load_app(arguments.target)
    config = resolved(app, arguments).config
    from streamer import log
    from streamer.operations.catalog import all_kinds
    from streamer.operations.executor import Executor
    from streamer.operations.table import KafkaTable

    log.configure(config.log_level, config.log_format)
    topology = app.topology()
    with Executor(config, KafkaTable(config), all_kinds()) as books:
        try:
            if not _has_begun(books, arguments.id):
                return 0
            _check(config, topology, books.books().operation(arguments.id))
            return _run(arguments, config, topology, books)
        except StreamerError:
            # Its topics are deleted once it is over.
            if not _is_over(books, arguments.id):
                raise
            return 0
        finally:
            _clean(config, arguments, books)


def _run(arguments: argparse.Namespace, config: Config, topology: Topology, books: Executor) -> int:
    from streamer.ids import replay_application
    from streamer.operations.repartition.request import read_request
    from streamer.topology.replayed import replayed
    from streamer.worker import supervisor
    from streamer.worker.followed import Lead
    from streamer.worker.run import Signals, run_topology

    if arguments.processes > 1:
        each = command(arguments, arguments.id, arguments.target, processes=1)
        return supervisor.run_processes(each, config, arguments.processes, may_end=True)
    name = replay_application(topology.application_id, arguments.id)
    asked = read_request(books.books().operation(arguments.id).request)
    outputs = asked.outputs
    own = replayed(topology, name, outputs=outputs, operation=arguments.id)
    if outputs == "side":
        _make_side_topics(config, topology, arguments.id)
    lead = Lead(
        topology.application_id,
        lambda: _is_over(books, arguments.id),
        stamp=[(_HEADER, arguments.id.encode())] if outputs == "on" else [],
    )
    signals = Signals()
    run = partial(run_topology, own, _own(config, name), slot=arguments.slot, signals=signals)
    if asked.interval is not None:
        stage = _Stage(config, asked, lead.is_over)
        first = replace(lead, is_over=stage.is_over, interval=asked.interval, until=stage.until)
        code = run(follows=first)
        if signals.are_heard or not stage.has_come:
            return code
        _log.info("the windows of the interval are computed; everything is, from here on")
    return run(follows=lead)


class _Stage:
    """The windows of an interval are computed alone, until all tasks are where the snapshots of all
    other rows stand. Who has not heard of that yet does nothing behind that place, so that workers
    of both stages do not get in each other's way."""

    def __init__(self, config: Config, asked: Asked, is_over: Callable[[], bool]) -> None:
        from streamer.kafka.admin import Admin

        self.until = {place: asked.until.get(str(place), 0) for place in asked.input_places}
        self.has_come = False
        self._admin = Admin(config)
        self._origin = asked.origin
        self._whole_is_over = is_over

    def is_over(self) -> bool:
        if self._whole_is_over():
            return True
        known = self._admin.committed(self._origin, list(self.until))
        self.has_come = all(
            place in known and known[place] >= at for place, at in self.until.items() if at
        )
        return self.has_come


def _make_side_topics(config: Config, topology: Topology, operation: str) -> None:
    """As wide as those beside which they are."""
    from streamer.kafka.admin import Admin, TopicSpec
    from streamer.topology.partitions import external_topics
    from streamer.topology.replayed import side_topic

    admin = Admin(config)
    _read, written = external_topics(topology)
    specs = [
        TopicSpec(side_topic(topic, operation), width, replication_factor=config.replication_factor)
        for topic, width in admin.partitions(written).items()
    ]
    admin.create(specs)


def _own(config: Config, name: str) -> Config:
    """The settings of an application that reads the same once more."""
    # What the live application has put aside is there already.
    skipped: dict[str, Any] = {
        policy: "skip" for policy in _POLICIES if getattr(config, policy) == "dead_letter"
    }
    return replace(
        config,
        application_id=name,
        # The live one may have it on the same host.
        worker_id=None,
        standby_replicas=0,
        auto_offset_reset="earliest",
        # What is done twice here would stay in the state.
        processing_guarantee="exactly_once",
        # The pause waits for its last commits.
        commit_interval_ms=min(config.commit_ms, _COMMIT_MS),
        snapshot_repository="",
        http_port=-1,
        dead_letter_topic="",
        **skipped,
    )


def _has_begun(books: Executor, operation: str) -> bool:
    """Wait until the replay has begun, and there is what it begins with: before, nobody would take
    away what is made for it. False where it is over. Raises OperationRefusedError for what is no
    replay."""
    from streamer.operations.replay.steps import may_read

    says = True
    while True:
        record = books.books().operation(operation)
        if record.kind != KIND:
            raise OperationRefusedError(
                f"operation {operation} is no replay: {record.kind}",
                hint="streamer operations list has all of them",
            )
        if _is_over(books, operation):
            print(f"replay {operation} is {record.state}: there is nothing to do", file=sys.stderr)
            return False
        if may_read(record):
            return True
        if says:
            what = "has its state to begin with" if record.has_begun else "is applied"
            print(f"waiting until replay {operation} {what}", file=sys.stderr)
        says = False
        time.sleep(_LOOK_S)


def _is_over(books: Executor, operation: str) -> bool:
    from streamer.operations.replay.steps import is_over

    return is_over(books.books().operation(operation))


def _clean(config: Config, arguments: argparse.Namespace, books: Executor) -> None:
    """Remove what a replay that is over has left: the state of each worker of this host that has
    ended; and topics, which one makes anew that was about to begin when they were deleted."""
    from streamer.ids import replay_application
    from streamer.kafka.admin import Admin
    from streamer.operations.repartition.request import read_request
    from streamer.operations.repartition.world import KafkaTopics
    from streamer.operations.replay.steps import is_over, left_of
    from streamer.store.removal import remove_state

    # What ended this worker is told, and not what comes of this.
    with suppress(StreamerError):
        record = books.books().operation(arguments.id)
        if arguments.slot is not None or record.kind != KIND or not is_over(record):
            return
        remove_state(config.state_dir, replay_application(config.application_id, arguments.id))
        if record.is_finished:
            asked, topics = read_request(record.request), KafkaTopics(config, Admin(config))
            if found := left_of(topics.topics(), asked):
                topics.delete(found)
                topics.forget([asked.origin])


def _check(config: Config, topology: Topology, record: OperationRecord) -> None:
    """Raise OperationRefusedError for code of another shape, and where the input has lost its begin
    since the replay was planned."""
    from streamer.kafka.admin import Admin
    from streamer.operations.repartition.request import read_request
    from streamer.operations.replay.request import unreachable
    from streamer.topology.interval import replaced_stores
    from streamer.topology.routed import routed
    from streamer.topology.shape import shape_of

    asked = read_request(record.request)
    layout, admin = asked.before.layout, Admin(config)
    if asked.interval is not None:
        # By this code, which need not be what the live workers have told.
        replaced_stores(topology, asked.replaced)
    if shape_of(routed(topology, layout), layout).digest != asked.shape:
        raise OperationRefusedError(
            f"replay {record.id} was planned for another topology",
            hint="run it with the code that reads the same topics into the same stores",
        )
    # What it has read already may be gone.
    known = admin.committed(asked.origin, asked.input_places)
    reads = asked.begin | {str(place): at for place, at in known.items()}
    if gone := unreachable(admin.starts(asked.input_places), reads):
        raise OperationRefusedError(
            f"the input does not reach back so far any more: {gone[0]} has lost it",
            hint="what it has lost cannot be computed again: cancel the replay",
        )
