"""One real Airflow for all tests of a file, which conducts one real application.

It is the Airflow of `make demo`, with delays that suit a test. It ends with the file: at rest its
parts still take a good part of a core.
"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.airflow import LocalAirflow, Run, Runs
from demo.airflow.connection import body, store
from demo.airflow.leftovers import members
from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.operations.books import Books
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from tests.broker.conftest import Kafka, broker, kafka, sandbox, wait_until
from tests.broker.snapshots import Snapshots
from tests.broker.workers import Application, Worker

__all__ = ["Conducted", "broker", "kafka", "sandbox", "task_processes"]

DAGS = {"snapshot_stores", "rebuild_standby", "trim_changelogs", "rebalance_zones"}
OUTPUTS = ("totals", "closed", "every")
SETTINGS = {
    "streamer.schedules": "False",
    # Whose process is gone is missed after these seconds.
    "scheduler.task_instance_heartbeat_timeout": "30",
    "scheduler.job_heartbeat_sec": "2",
    "scheduler.scheduler_heartbeat_sec": "2",
    "scheduler.scheduler_health_check_threshold": "15",
    "scheduler.orphaned_tasks_check_interval": "10",
    "triggerer.job_heartbeat_sec": "2",
    "triggerer.triggerer_health_check_threshold": "15",
}


class Conducted:
    """The application, its one worker, its operations and its snapshots."""

    def __init__(self, application: Application, worker: Worker) -> None:
        self.application = application
        self.worker = worker
        # One snapshot is enough for the trims of these tests.
        self.snapshots = Snapshots(application, trim_snapshots_min=1)
        self.config: Config = self.snapshots.config

    def books(self) -> Books:
        with Executor(self.config, KafkaTable(self.config), all_kinds()) as executor:
            return executor.books()

    def operations(self) -> dict[str, OperationRecord]:
        return dict(self.books().operations)

    def process(self, round_: int, keys: int = 200) -> None:
        """Records of one more round, processed."""
        records = [(f"key-{n:04}", json.dumps(round_ * 1_000 + n)) for n in range(keys)]
        self.application.kafka.produce(
            self.application.topic("in"), records, timestamp_ms=lambda _at: round_ * 1_000
        )
        self.application.wait_until_done(watch=[self.worker])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The worker stands still, so that an operation which needs it does not end."""
        self.worker.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.worker.send(signal.SIGCONT)


@pytest.fixture(scope="module")
def conducted(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conducted]:
    directory = tmp_path_factory.mktemp("conducted")
    application = Application(
        kafka,
        f"conducted-{uuid.uuid4().hex[:8]}",
        "counts",
        directory,
        snapshot_repository=f"file://{directory / 'snapshots'}",
        # A worker that a test froze is the same one when it wakes.
        session_timeout_ms=120_000,
        heartbeat_interval_ms=3_000,
    )
    topics = [application.topic(name) for name in ("in", *OUTPUTS)]
    kafka.create(*topics, partitions=2, retention_ms="-1")
    worker = application.worker()
    try:
        found = Conducted(application, worker)
        for round_ in range(1, 6):
            found.process(round_)
        yield found
    finally:
        application.close()


@pytest.fixture(scope="module")
def airflow(conducted: Conducted) -> Iterator[LocalAirflow]:
    ours = ("STREAMER_", "AIRFLOW")
    base = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with LocalAirflow(settings=SETTINGS, base=base) as running:
        running.wait_for_dags(DAGS)
        store(running.api(), body(conducted.config))
        Runs(running.api()).unpause("snapshot_stores", "trim_changelogs")
        yield running


@pytest.fixture
def runs(airflow: LocalAirflow) -> Runs:
    return Runs(airflow.api())


def task_processes(airflow: LocalAirflow) -> dict[int, str]:
    """The processes in which tasks run at this moment, with their titles."""
    keeper = os.getsid(airflow.pid("scheduler"))
    found = {}
    for pid in members(keeper):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").strip("\0 ")
        except OSError:
            continue
        if title.startswith("airflow worker -- ") and "LocalExecutor" not in title:
            found[pid] = title
    return found


@pytest.fixture
def kill_a_task(airflow: LocalAirflow, runs: Runs) -> Callable[[Run], str]:
    """Ends the process of whichever task of a run is the next to run; its title."""

    def kill(run: Run) -> str:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            # Airflow is asked once there is something to ask about: that keeps it busy.
            found = task_processes(airflow)
            told = airflow.api().get(f"{run.path}/taskInstances")["task_instances"] if found else []
            ids = {one["id"]: one["task_id"] for one in told}
            for pid, title in found.items():
                task = ids.get(title.rpartition(" ")[2])
                if task is not None:
                    os.kill(pid, signal.SIGKILL)
                    return str(task)
            time.sleep(0.05)
        raise AssertionError(f"no task of {run} had a process: {runs.tasks(run)}")

    return kill


@pytest.fixture
def kill_a_part(airflow: LocalAirflow) -> Callable[[str], None]:
    """Ends a part of Airflow as a power cut would, and waits until it was started again."""

    def kill(part: str) -> None:
        before = airflow.pid(part)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: airflow.pid(part) not in (0, before), what=f"another {part}")

    return kill
