"""Other numbers of tasks while purchases go on: by runs of a DAG, or by the command line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from demo.amplify import records
from demo.cdnow import Purchase
from demo.conducting import Conductor, Scene
from demo.feed import Feed
from streamer.config import Config
from streamer.control.current import current_layout
from streamer.kafka.admin import Admin

__all__ = ["MOVES", "MoveError", "Moved", "moves", "traffic"]

Say = Callable[[str], None]

MOVES = (6, 3)
"""More tasks than the topic has partitions, which is given more; and then half as many."""

_WHY = {
    6: "the topic is given more partitions while purchases go on, and a task for each",
    3: "half as many tasks: each reads two partitions",
}
_SAID = ("step ", "operation ")
# For each copy of the history, of which that is a day in five seconds: however long it takes, no
# window gets so old that it is not kept.
_TRAFFIC_PER_S = 25
# More in all than any machine takes for it.
_TRAFFIC_MAX = 10_000_000


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
    stream = records(history, copies=copies, events=after + _TRAFFIC_MAX)
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


def moves(config: Config, topic: str, *, conductor: Conductor | None, say: Say) -> Iterator[Moved]:
    """One number of tasks after the other. Raises MoveError where one is not reached."""
    say("purchases go on, and meanwhile the number of tasks changes")
    for tasks in MOVES:
        began = time.monotonic()
        wish = f"{topic}={tasks}"
        if conductor is not None:
            run = conductor.play(Scene("repartition", {"tasks_of": [wish]}, _WHY[tasks]))
            ended = run.state == "success"
        else:
            say(f"streamer repartition plan {wish}: {_WHY[tasks]}")
            ended = _by_command(config, wish, say=say)
        layout = current_layout(config, Admin(config))
        if not ended or layout is None or layout.task_count(0) != tasks:
            raise MoveError(f"the repartition to {tasks} tasks did not come to its end")
        found = Moved(tasks, time.monotonic() - began)
        say(f"{tasks} tasks run, after {found.seconds:.0f} s")
        yield found


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
    command: Sequence[str] = [sys.executable, "-m", "streamer.cli.main", "repartition", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
