"""docker-compose.yml without containers: PostgreSQL, Redis, Celery, FAB, an S3 server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.airflow import Api, ApiError, Runs
from streamer.config import Config
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from streamer.operations.words import step_line
from streamer.sandbox import Sandbox
from tests.airflow.celery.installation import Installation, missing
from tests.broker.conftest import Kafka, wait_until

pytestmark = [pytest.mark.celery]

EVENTS = [
    (f"{number:05}", f'{{"day":"1997-01-{1 + number % 28:02}","cds":1,"cents":{number}}}')
    for number in range(1, 400)
]


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """A Kafka of its own: the application has the name that the compose file gives it."""
    if reason := missing():
        pytest.skip(reason)
    with Sandbox() as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture(scope="module")
def installation(servers: str) -> Iterator[Installation]:
    kafka = Kafka(servers)
    kafka.create("purchases", "customer-profiles", partitions=8, retention_ms="-1")
    # Not one of pytest's: PostgreSQL runs as another user, who must get there.
    directory = Path(tempfile.mkdtemp(prefix="streamer-celery-"))
    directory.chmod(0o755)
    # PostgreSQL runs as another user, and goes through the directory of all tests to its own.
    directory.parent.chmod(directory.parent.stat().st_mode | 0o011)
    running = Installation(directory, servers)
    try:
        running.start()
        kafka.produce("purchases", EVENTS, timestamp_ms=852_076_800_000)
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def runs(installation: Installation) -> Runs:
    return Runs(installation.api)


def test_all_parts_are_healthy_and_nobody_looks_without_a_login(
    installation: Installation,
) -> None:
    health = Api(installation.url).health()
    assert set(health) >= {"metadatabase", "scheduler", "triggerer", "dag_processor"}
    assert set(health.values()) == {"healthy"}
    with pytest.raises(ApiError) as refused:
        Api(installation.url).get("/dags")
    assert refused.value.status == 401
    with pytest.raises(ApiError) as refused:
        Api(installation.url, "admin", "admin").get("/dags")
    assert refused.value.status == 401


def test_the_connection_of_the_file_works(installation: Installation) -> None:
    # The stored one is tried, with its secrets, which the API does not show.
    stored = installation.api.get("/connections/streamer_default")
    assert installation.secrets["S3_SECRET_KEY"] not in str(stored)
    asked = {"connection_id": "streamer_default", "conn_type": "streamer"}
    found = installation.api.post("/connections/test", asked)
    assert found["status"], found["message"]


def test_celery_workers_make_snapshots_and_the_operation_is_done(
    installation: Installation, runs: Runs, servers: str
) -> None:
    wait_for(installation, "snapshot_stores")
    runs.unpause("snapshot_stores")
    run = runs.trigger("snapshot_stores")
    try:
        state = runs.follow(run, timeout=900)
    except TimeoutError as late:
        state = str(late)
    with executor(servers) as operations:
        found = list(operations.books().operations.values())
    if state != "success":
        told = "\n".join(f"{one.state}, {step_line(one)}" for one in found)
        raise AssertionError(f"{state}\n{told}\n{runs.tasks(run)}\n{installation.logs()}")

    assert [(one.kind, one.state) for one in found] == [("snapshot", "done")]
    tasks = installation.api.get(f"{run.path}/taskInstances")["task_instances"]
    queues = {(one["task_id"], one["queue"]) for one in tasks}
    assert queues >= {("plan", "default"), ("make", "default"), ("check", "heavy")}
    heavy = [one for one in tasks if one["queue"] == "heavy"]
    assert {one["state"] for one in heavy} == {"success"}, "its own worker takes them"


def executor(servers: str) -> Executor:
    config = Config(application_id="profiles", bootstrap_servers=servers)
    return Executor(config, KafkaTable(config), all_kinds())


def wait_for(installation: Installation, dag: str) -> None:
    def is_known() -> bool:
        installation.check()
        return dag in {one["dag_id"] for one in installation.api.get("/dags", limit=100)["dags"]}

    wait_until(is_known, timeout=480, what=f"the DAG {dag}")
