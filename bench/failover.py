"""Three workers under load, each task with a warm copy: for how long does a task stand still when
its worker is killed, and when it is stopped?

Seen from outside, by a consumer of committed results (``bench.traffic``). All settings that matter
are the defaults. A killed worker is started again after the others have taken over, so its tasks go
back to it; then it is stopped cleanly, and started once more.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench.broker import running_broker
from bench.measure import Child, MeasureError
from bench.options import Options
from bench.report import Column, Row
from bench.run import failure, say
from bench.systems import Case
from bench.systems.streamer import row as system
from bench.topics import Topics
from bench.traffic import Traffic, percentile
from streamer.config import Config
from streamer.control.client import Control, TaskInfo
from streamer.errors import TopicMissingError

TITLE = "failover"
COLUMNS = (
    Column("victim", "victim"),
    Column("tasks", "tasks"),
    Column("session_s", "session, s", ".0f"),
    Column("kill_gap_s", "killed, p50, s", ".2f", spread=True),
    Column("kill_gap_p99_s", "p99", ".2f", spread=True),
    Column("fenced_s", "fenced after, s", ".2f", spread=True),
    Column("running_s", "all run after, s", ".2f", spread=True),
    Column("stop_gap_s", "stopped, p50, s", ".2f", spread=True),
    Column("stop_gap_p99_s", "p99", ".2f", spread=True),
    Column("return_gap_s", "back again, at most, s", ".2f", spread=True),
    Column("others_gap_s", "others, at most, s", ".2f", spread=True),
    Column("correct", "correct"),
)
HOSTS, PARTITIONS, ROUNDS = "abc", 6, 3
CALM_S, LIMIT_S = 1.0, 120.0
_LAG_MAX = 1_000
_LOOK_S = 0.2


@dataclass(frozen=True)
class Victim:
    """Who is lost; its title is what `--only` finds."""

    title: str
    is_controller: bool


SYSTEMS = (Victim("another worker", False), Victim("the controller", True))


@dataclass
class Gaps:
    """Seconds that tasks stood still, one figure for each task and time."""

    kill: list[float] = field(default_factory=list)
    fenced: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    stop: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        return {
            "kill_gap_s": percentile(self.kill, 0.5),
            "kill_gap_p99_s": percentile(self.kill, 0.99),
            "fenced_s": percentile(self.fenced, 0.5),
            "running_s": percentile(self.running, 0.5),
            "stop_gap_s": percentile(self.stop, 0.5),
            "stop_gap_p99_s": percentile(self.stop, 0.99),
            "return_gap_s": max(self.back),
            "others_gap_s": max(self.others),
        }


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a victim; each run has a cluster of its own."""
    victims = options.chosen(SYSTEMS)
    rows: dict[Victim, list[Row]] = {victim: [] for victim in victims}
    with running_broker(options.bootstrap) as bootstrap:
        for turn in range(1, options.runs + 1):
            say(f"run {turn} of {options.runs}")
            for victim in victims:
                shape = {"victim": victim.title, "tasks": PARTITIONS}
                try:
                    with _running(bootstrap) as fleet:
                        rows[victim].append({**shape, **_measured(fleet, victim)})
                except Exception as error:
                    rows[victim].append({**shape, "correct": False, "error": failure(error)})
    for found in rows.values():
        emit(found)


def _measured(fleet: Fleet, victim: Victim) -> dict[str, object]:
    gaps = Gaps()
    for number in range(1, ROUNDS + 1):
        say(f"{victim.title}, round {number}")
        fleet.lose(fleet.find(victim), gaps)
    fault = fleet.traffic.finish(LIMIT_S)
    if fault:
        say(f"failover: {fault}")
    session_s = fleet.config.session_timeout_ms / 1000
    return {"session_s": session_s, **gaps.row(), "correct": not fault}


@contextmanager
def _running(bootstrap: str) -> Iterator[Fleet]:
    """A cluster with its topics, at work."""
    application = f"bench-{uuid.uuid4().hex[:8]}"
    state = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
    topics = Topics(bootstrap)
    source, target = f"{application}-events", f"{application}-results"
    for name in (source, target):
        topics.create(name, partitions=PARTITIONS)
    case = Case(
        bootstrap=bootstrap,
        application=application,
        source=source,
        target=target,
        state=state,
        commit_ms=100,
        partitions=PARTITIONS,
    )
    traffic = Traffic(bootstrap, source=source, target=target, partitions=PARTITIONS)
    fleet = Fleet(case, traffic)
    try:
        with traffic:
            fleet.begin()
            yield fleet
    finally:
        fleet.close()
        topics.remove(application)
        topics.close()
        shutil.rmtree(state, ignore_errors=True)


class Fleet:
    """A worker on each host, each host in a zone of its own."""

    def __init__(self, case: Case, traffic: Traffic) -> None:
        self.config = Config(application_id=case.application, bootstrap_servers=case.bootstrap)
        self.traffic = traffic
        self._case = case
        self._children: dict[str, Child] = {}
        self._logs: list[Path] = []
        self._control: Control | None = None

    def begin(self) -> None:
        for host in HOSTS:
            self._start(host)
        self._wait(self._is_whole, "every task with an owner and a warm copy")

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.wait()

    def find(self, victim: Victim) -> str:
        """A host whose worker is such a one."""
        controllers = {one.worker: one.is_controller for one in self._known().workers()}
        hosts = self._hosts()
        for worker, host in sorted(hosts.items(), reverse=True):
            if controllers[worker] == victim.is_controller:
                return host
        raise MeasureError(f"no worker is {victim.title}")

    def lose(self, host: str, gaps: Gaps) -> None:
        """Killed, started again, stopped, started again."""
        began, tasks = time.time(), self._tasks_of(host)
        self._children[host].kill()
        self._wait(lambda: self._run_elsewhere(host), "other owners for the tasks")
        gaps.kill += [
            silence.ended - max(silence.began, began)
            for silence in (self.traffic.silence(task, began) for task in tasks)
        ]
        self._note_stages(began, tasks, gaps)
        self._note_others(began, tasks, gaps)
        self._bring_back(host, gaps)

        began, tasks = time.time(), self._tasks_of(host)
        self._children[host].terminate()
        code = self._children[host].wait()
        if code:
            raise MeasureError(f"a stop ended with code {code}\n{self._children[host].tail()}")
        self._wait(lambda: self._run_elsewhere(host), "other owners for the tasks")
        gaps.stop += [self.traffic.silence(task, began).seconds for task in tasks]
        self._note_others(began, tasks, gaps)
        self._bring_back(host, gaps)

    def _bring_back(self, host: str, gaps: Gaps) -> None:
        began = time.time()
        self._start(host)
        self._wait(self._is_whole, "every task with an owner and a warm copy")
        gaps.back += [self.traffic.silence(task, began).seconds for task in range(PARTITIONS)]

    def _note_others(self, began: float, tasks: list[int], gaps: Gaps) -> None:
        others = set(range(PARTITIONS)).difference(tasks)
        gaps.others += [self.traffic.silence(task, began).seconds for task in others]

    def _note_stages(self, began: float, tasks: list[int], gaps: Gaps) -> None:
        """From the workers' own logs: when it was fenced, and when the last of its tasks ran."""
        names = {f"0_{task}" for task in tasks}
        ran: dict[str, float] = {}
        for at, message in self._said_since(began):
            words = message.split()
            if words[0] == "worker" and message.endswith("is fenced"):
                gaps.fenced.append(at - began)
            elif words[0] == "task" and words[1] in names and words[2] == "runs:":
                ran[words[1]] = at - began
        gaps.running.append(max(ran.values()))

    def _said_since(self, began: float) -> Iterator[tuple[float, str]]:
        for log in self._logs:
            for line in log.read_text(errors="replace").splitlines():
                if line.startswith("{") and line.endswith("}"):
                    said = json.loads(line)
                    at = datetime.fromisoformat(said["at"]).timestamp()
                    if at >= began:
                        yield at, str(said["msg"])

    # -- the workers -------------------------------------------------------------------------------

    def _start(self, host: str) -> None:
        chosen = {"host": host, "zone": f"az={host}", "standby_replicas": "1", "log_format": "json"}
        made = system("built_in", self._case.commit_ms)
        command = [*made.command(self._case)]
        for name, value in chosen.items():
            command += ["--set", f"{name}={value}"]
        environment = made.environment(self._case)
        # Which of its directories it has.
        environment["BENCH_PROCESS"] = str(HOSTS.index(host))
        log = self._case.state / f"{host}-{len(self._logs)}.log"
        self._logs.append(log)
        self._children[host] = Child(command, environment=environment, log=log)

    def _known(self) -> Control:
        if self._control is None:
            self._control = Control(self.config)
        return self._control

    def _hosts(self) -> dict[str, str]:
        """By worker: those that live."""
        return {one.worker: one.host for one in self._known().workers() if one.is_alive}

    def _tasks_of(self, host: str) -> list[int]:
        hosts = self._hosts()
        return [_number(one) for one in self._known().tasks() if hosts.get(one.worker) == host]

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        """Until it has been so for a while."""
        deadline = time.monotonic() + LIMIT_S
        since: float | None = None
        while since is None or time.monotonic() - since < CALM_S:
            try:
                holds = is_so()
            except TopicMissingError:  # Until the first worker has made them.
                holds = False
            now = time.monotonic()
            since = (since or now) if holds else None
            if now > deadline:
                tails = "\n".join(child.tail(5) for child in self._children.values())
                raise MeasureError(f"no {what} after {LIMIT_S:.0f} s\n{tails}")
            time.sleep(_LOOK_S)

    def _run_elsewhere(self, host: str) -> bool:
        hosts, tasks = self._hosts(), self._known().tasks()
        owners = [hosts.get(one.worker, host) for one in tasks if one.state == "running"]
        return len(owners) == PARTITIONS and host not in owners

    def _is_whole(self) -> bool:
        hosts, tasks = self._hosts(), self._known().tasks()
        owners = [hosts.get(one.worker, "") for one in tasks if _is_safe(one)]
        share = PARTITIONS // len(HOSTS)
        return all(owners.count(host) == share for host in HOSTS)


def _number(task: TaskInfo) -> int:
    return int(task.task.partition("_")[2])


def _is_safe(task: TaskInfo) -> bool:
    """It runs where it shall, and has one warm copy."""
    lags = list(task.standbys.values())
    is_warm = len(lags) == 1 and lags[0] is not None and lags[0] <= _LAG_MAX
    return task.state == "running" and not task.is_moving and is_warm
