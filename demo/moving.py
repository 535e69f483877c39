"""Other numbers of tasks while purchases go on: by runs of a DAG, or by the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec

from demo.amplify import records
from demo.cdnow import Purchase
from demo.conducting import Conductor, Scene
from demo.feed import Feed
from examples.profiles import app
from streamer.config import Config
from streamer.control.current import current_layout
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.api import Committed
from streamer.kafka.positions import committed
from streamer.launch import launched
from streamer.operations.repartition.positions import expecting, read_by
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.survey import survey

__all__ = ["MOVES", "MoveError", "Moved", "Moving", "traffic"]

Say = Callable[[str], None]

MOVES = (6, 3)
"""More tasks than the topic has partitions, which is given more; and then half as many."""

_WHY = {
    6: "the topic is given more partitions while purchases go on, and a task for each",
    3: "half as many tasks: each reads two partitions",
}
_SAID = ("step ", "operation ")
_RUN_S = 900.0
_QUIET_S, _ASK_S, _LOOK_S = 180.0, 30.0, 1.0
# For each copy of the history, of which that is a day in five seconds; and 150 days in all, while
# no window is so old that it is not kept any more.
_TRAFFIC_PER_S, _TRAFFIC_MAX = 25, 19_000


class MoveError(Exception):
    """The application does not run as many tasks as it was asked to."""


class Moved(NamedTuple):
    """So many tasks run, after so many seconds."""

    tasks: int
    seconds: float


def traffic(
    bootstrap_servers: str, topic: str, history: Sequence[Purchase], *, copies: int, after: int
) -> Feed:
    """Purchases that go on behind the first ones, at an even pace, until it is stopped."""
    stream = records(history, copies=copies, events=after + copies * _TRAFFIC_MAX)
    feed = Feed(
        bootstrap_servers,
        topic,
        islice(stream, after, None),
        at_once=0,
        per_second=copies * _TRAFFIC_PER_S,
    )
    feed.start()
    feed.flow()
    return feed


class Moving:
    """One number of tasks after the other, in a thread, while somebody else looks on."""

    def __init__(self, config: Config, topic: str, *, conductor: Conductor | None) -> None:
        self._config = config
        self._topic = topic
        self._conductor = conductor
        self._said: SimpleQueue[str] = SimpleQueue()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="moving", daemon=True)
        self.moved: list[Moved] = []

    def start(self) -> None:
        self._thread.start()

    def heard(self) -> Iterator[str]:
        """What was said since the last time."""
        with suppress(Empty):
            while True:
                yield self._said.get_nowait()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be said or moved."""
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what it has ended with: MoveError, ApiError, TimeoutError, a StreamerError."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._said.put("purchases go on, and meanwhile the number of tasks changes")
            for tasks in MOVES:
                began = time.monotonic()
                self._move(tasks)
                moved = Moved(tasks, time.monotonic() - began)
                self._said.put(f"{tasks} tasks, after {moved.seconds:.0f} s")
                self.moved.append(moved)
        except Exception as error:
            self._failure = error

    def _move(self, tasks: int) -> None:
        self._await_quiet(tasks)
        wish = f"{self._topic}={tasks}"
        if self._conductor is not None:
            scene = Scene("repartition", {"tasks_of": [wish]}, _WHY[tasks])
            ended = self._conductor.play(scene, say=self._said.put).state == "success"
        else:
            self._said.put(f"streamer repartition plan {wish}: {_WHY[tasks]}")
            ended = _by_command(self._config, wish, say=self._said.put)
        layout = current_layout(self._config, Admin(self._config))
        if not ended or layout is None or layout.task_count(0) != tasks:
            raise MoveError(f"the repartition to {tasks} tasks did not come to its end")

    def _await_quiet(self, tasks: int) -> None:
        """Until nobody expects records that were sent by a former number of partitions."""
        asked = survey(self._config, app.topology(), {0: tasks}, number="demonstration")
        deadline = time.monotonic() + _QUIET_S
        says = True
        while expecting(asked, self._positions(asked)):
            if says:
                self._said.put("waiting until the producer is known to know the new partitions")
            says = False
            if time.monotonic() > deadline:
                raise MoveError("records may still be sent by the former number of partitions")
            time.sleep(_LOOK_S)

    def _positions(self, asked: Asked) -> Mapping[TopicPartition, Committed]:
        group = self._config.application_id
        return committed(self._config, group, read_by(asked), timeout_s=_ASK_S)


def _by_command(config: Config, wish: str, *, say: Say) -> bool:
    where = ("--app", config.application_id, "--bootstrap-servers", config.bootstrap_servers)
    planned = _run("plan", wish, *where, "--json")
    if planned.returncode:
        say(planned.stderr)
        return False
    applied = _run("apply", msgspec.json.decode(planned.stdout)["operation"], *where)
    for line in applied.stdout.splitlines():
        if line.startswith(_SAID):
            say(f"  {line}")
    if applied.returncode:
        say(applied.stderr)
    return applied.returncode == 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that is stopped where this process is. Raises MoveError where it takes too long."""
    command = [sys.executable, "-m", "streamer.cli.main", "repartition", *arguments]
    try:
        return subprocess.run(
            launched(command, signal.SIGTERM),
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_S,
        )
    except subprocess.TimeoutExpired as error:
        raise MoveError(
            f"streamer repartition {arguments[0]} was not done after {_RUN_S:g} s"
        ) from error
