"""Workers as a user runs them: processes of the command line, killed, stopped and asked over HTTP.

An `Application` is one application id with its topics, its state directories and its workers. What
a worker did is read from its log, from `/tasks`, from `/metrics` and from Kafka, never from inside.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import urlopen

from confluent_kafka import Consumer, TopicPartition

from streamer.errors import KafkaUnavailableError
from streamer.ids import TopicPartition as Place
from streamer.kafka.attempts import Attempts

if TYPE_CHECKING:
    from tests.broker.conftest import Kafka

ROOT = Path(__file__).parents[2]
APPLICATIONS = "tests.broker.applications"
KILLED = -signal.SIGKILL
# What a scenario waits for comes in seconds; a machine of two cores that runs several of them at
# once may need many more. Only a failure waits as long as this.
PATIENCE_S = 360.0

# Short sessions: after a SIGKILL the group notices as late as that.
DEFAULTS: Mapping[str, object] = {
    "session_timeout_ms": 2_000,
    "heartbeat_interval_ms": 500,
    "status_interval_ms": 500,
    # A transaction is some twenty requests: with one each 100 ms, as by default, workers and broker
    # take a quarter more of a processor, and scenarios that need many ask for them.
    "commit_interval_ms": 400,
    # Scenarios have a handful of workers, and all share one broker.
    "assignment_partitions": 4,
    "memory_bytes_max": "128MiB",
    # What stands behind everything else waits for ever where several tests run at a time.
    "snapshot_niceness": 0,
    "snapshot_cpu_percent": 100,
    "log_format": "json",
}
_STARTED = re.compile(r"task (\S+) runs: restored (\d+) records, goes on at (.*)")
_ADDRESS = re.compile(r"queries, health and metrics at (http://\S+)")


def pauses(timeout: float) -> Iterator[float]:
    """Waits before each further look, and gives the seconds so far, until `timeout`. What comes at
    once is seen at once; later a look costs the other scenarios more than it gains this one."""
    began = time.monotonic()
    pause_s = 0.05
    while (so_far := time.monotonic() - began) < timeout:
        time.sleep(pause_s)
        pause_s = 0.05 if so_far < 1 else 0.15
        yield so_far + pause_s


class Started(NamedTuple):
    """What a worker's log says of a task that began to run."""

    restored: int
    positions: dict[str, int]


class Gate:
    """Where a process waits, at a failpoint, until the scenario lets it go on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def at(self, point: str, nth: int = 0) -> str:
        """The failpoint, armed: at its n-th time alone, or every time."""
        return f"{point}=wait:{self._path}" + (f"@{nth}" if nth else "")

    def open(self) -> None:
        self._path.touch()


class Worker:
    """One process. `code` is what it ended with."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file
            )

    # -- its end -------------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """The exit code; -9 for a process that SIGKILL ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end within {timeout} s:\n{self.tail()}") from None

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.wait() == KILLED

    def stop(self, timeout: float = PATIENCE_S) -> int:
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """The processes that it started: the workers of a host with `processes`."""
        command = ["ps", "-o", "pid=", "--ppid", str(self.process.pid)]
        found = subprocess.run(command, capture_output=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def lose_host(self) -> None:
        """All of them die at once."""
        for pid in (*self.children(), self.process.pid):
            os.kill(pid, signal.SIGKILL)
        assert self.wait() == KILLED

    # -- what it says --------------------------------------------------------------------------

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def messages(self) -> list[str]:
        return [str(line["msg"]) for line in self.lines()]

    @property
    def error(self) -> str:
        """The lines at the end that the command line printed about its failure."""
        return self.text.rpartition("\nstreamer: ")[2] if "streamer: " in self.text else ""

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines; what is none of them is left out, as is one that is being written."""
        whole = self.text.rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in whole if line.startswith('{"at"')]

    def tail(self, count: int = 60) -> str:
        return "\n".join(self.text.splitlines()[-count:])

    def started(self) -> dict[str, Started]:
        """The tasks that began to run, each at its last start."""
        found = {}
        for message in self.messages:
            if match := _STARTED.match(message):
                pairs = [place.rsplit("@", 1) for place in match[3].split(", ")]
                positions = {place: int(at) for place, at in pairs}
                found[match[1]] = Started(int(match[2]), positions)
        return found

    def wait_started(self, tasks: int, *, timeout: float = PATIENCE_S) -> dict[str, Started]:
        """Wait until so many tasks run; what the log says of them."""
        looks = pauses(timeout)
        while len(found := self.started()) < tasks:
            assert self.is_alive, f"the worker has ended:\n{self.tail()}"
            assert next(looks, None), f"{found} after {timeout} s:\n{self.tail()}"
        return found

    def wait_for(self, text: str, *, timeout: float = PATIENCE_S) -> str:
        """The first message of the log that has this in it."""
        looks = pauses(timeout)
        while True:
            was_alive = self.is_alive
            for message in self.messages:
                if text in message:
                    return message
            assert was_alive, f"the worker has ended without {text!r}:\n{self.tail()}"
            assert next(looks, None), f"no {text!r} in {timeout} s:\n{self.tail()}"

    # -- what it answers -----------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The newest: it changes with the layout."""
        self.wait_for("queries, health and metrics at")
        return [match[1] for match in map(_ADDRESS.match, self.messages) if match][-1]

    def get(self, path: str) -> Any:
        with urlopen(self.address + path, timeout=120) as answer:
            body = answer.read().decode()
        return json.loads(body) if path != "/metrics" else body

    def tasks(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/tasks")["tasks"]
        return found

    def standbys(self) -> dict[str, int | None]:
        """The copies that it keeps of others' tasks, with what each has yet to read."""
        found: dict[str, Any] = self.get("/tasks").get("standbys", {})
        return {task: one["lag_records"] for task, one in found.items()}

    def running(self) -> set[str]:
        """The tasks that it runs now."""
        return {task for task, one in self.tasks().items() if one["state"] == "running"}

    def processed(self) -> int:
        """Records that went through the topology since this process began."""
        return int(self.metric("streamer_records_processed_total"))

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            wanted = all(f'{label}="{text}"' in series for label, text in labels.items())
            if series.partition("{")[0] == name and wanted:
                total += float(value)
        return total


class Application:
    """One application of tests/broker/applications under an id of its own."""

    def __init__(
        self, kafka: Kafka, name: str, module: str, directory: Path, **settings: object
    ) -> None:
        self.kafka = kafka
        self.name = name
        self.module = module
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.settings = {**DEFAULTS, "bootstrap_servers": kafka.bootstrap_servers, **settings}
        self.environment: dict[str, str] = {}
        # By host: what comes before a command that is to run there; nothing where all are this one.
        self.inside: dict[str, list[str]] = {}
        self.workers: list[Worker] = []
        self._clients: dict[str, Consumer] = {}

    def topic(self, name: str) -> str:
        return f"{self.name}.{name}"

    def changelog(self, store: str) -> str:
        return f"{self.name}-{store}-changelog"

    def state_dir(self, host: str = "a") -> Path:
        return self.directory / f"state-{host}"

    # -- workers -------------------------------------------------------------------------------

    def worker(
        self, host: str = "a", *, failpoints: str = "", processes: int = 1, **settings: object
    ) -> Worker:
        """Start a worker, or as many as there are processes; `host` decides whose state directory
        it uses, and with whom it dies."""
        given = {"state_dir": self.state_dir(host), "host": host, **self.settings, **settings}
        command = [sys.executable, "-m", "streamer.cli.main", "run"]
        command += [f"{APPLICATIONS}.{self.module}:app", "--processes", str(processes)]
        for name, value in given.items():
            command += ["--set", f"{name}={value}"]
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("STREAMER_")
        }
        environment |= {"STREAMER_TEST_APPLICATION": self.name, **self.environment}
        if failpoints:
            environment["STREAMER_FAILPOINTS"] = failpoints
        log = self.directory / f"{host}-{len(self.workers)}.log"
        made = Worker([*self.inside.get(host, ()), *command], environment, log)
        self.workers.append(made)
        return made

    def run(self, host: str = "a", *, timeout: float = PATIENCE_S, **settings: object) -> Worker:
        """Start a worker and wait until everything that is there is processed and committed."""
        made = self.worker(host, **settings)
        self.wait_until_done(timeout=timeout, watch=[made])
        return made

    def close(self) -> None:
        """End what still runs; the logs are shown with a test that failed."""
        for worker in self.workers:
            print(f"--- {worker.log.name}\n{worker.tail(25)}")
            if worker.is_alive:
                worker.process.send_signal(signal.SIGCONT)
                worker.process.kill()
                worker.process.wait(240)
        for level in [*self._clients]:
            self._clients.pop(level).close()

    # -- progress, as Kafka knows it -----------------------------------------------------------

    def committed(self, *topics: str, stable: bool = True) -> dict[str, int]:
        """The group's positions, `topic/0` to next offset; `stable` waits for transactions."""
        wanted = [
            TopicPartition(topic, number)
            for topic in topics or (self.topic("in"),)
            for number in self.kafka.partitions(topic)
        ]
        # Not by the admin client: librdkafka 2.16 crashes when the group's coordinator still loads.
        level = "read_committed" if stable else "read_uncommitted"
        try:
            found = self._asked(level, wanted, timeout=15)
        except KafkaUnavailableError:
            # A client may lose a broker that was away for good.
            self._clients.pop(level).close()
            found = self._asked(level, wanted, timeout=PATIENCE_S)
        return {f"{one.topic}/{one.partition}": one.offset for one in found if one.offset >= 0}

    def _asked(
        self, level: str, wanted: list[TopicPartition], *, timeout: float
    ) -> list[TopicPartition]:
        if level not in self._clients:
            settings = {**self.kafka.settings, "group.id": self.name, "isolation.level": level}
            self._clients[level] = Consumer(settings)
        found: list[TopicPartition] = Attempts(timeout, self.kafka.bootstrap_servers)(
            f"asking for the positions of {self.name}",
            lambda left_s: self._clients[level].committed(wanted, timeout=left_s),
        )
        return found

    def ends(self, *topics: str) -> dict[str, int]:
        """The ends of the partitions, `topic/0` to next offset."""
        places = [
            Place(topic, number)
            for topic in topics or (self.topic("in"),)
            for number in self.kafka.partitions(topic)
        ]
        ends = self.kafka.requests.ends(places, "read_uncommitted")
        return {f"{place.topic}/{place.partition}": end for place, end in ends.items()}

    def is_done(self, *topics: str) -> bool:
        # In this order: what is done by now can add nothing to a topic that comes after it.
        found = self.committed(*topics, stable=False)
        ends = self.ends(*topics)
        return all(found.get(place, 0) == end for place, end in ends.items())

    def wait_until_done(
        self, *topics: str, timeout: float = PATIENCE_S, watch: Iterable[Worker] = ()
    ) -> None:
        """Until the committed positions are the ends of the input."""
        watched = list(watch)

        def done() -> bool:
            for worker in watched:
                assert worker.is_alive, f"a worker has ended:\n{worker.tail()}"
            return self.is_done(*topics)

        looks = pauses(timeout)
        while not done():
            if not next(looks, None):
                logs = "\n\n".join(worker.tail() for worker in self.workers)
                raise AssertionError(
                    f"not done within {timeout} s: {self.committed(*topics, stable=False)} of"
                    f" {self.ends(*topics)}\n{logs}"
                )
