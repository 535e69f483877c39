"""A state directory that is in use, of another application or of another format stops the start.

The error names the path and what to do next, and whatever lies there is left as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rocksdict import Options, Rdict

from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, START_MS
from tests.broker.workers import Application
from tests.thorough import thorough

BLOCK = 600


_block = count()


def produce(application: Application) -> None:
    begin = START_MS + next(_block) * BLOCK
    records = [(f"customer-{row % 20}", str(row)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def content(directory: Path) -> dict[str, bytes]:
    """Files that hold state; RocksDB's own log and its copies are no state."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name != "lock" and not file.name.startswith("LOG")
    }


def refused(application: Application, **settings: object) -> str:
    """The error of a worker that is not let in."""
    worker = application.worker(**settings)
    assert worker.wait() == 1
    assert "\nhint: " in worker.error
    assert "Traceback" not in worker.text
    return worker.error


@pytest.fixture(scope="module")
def stopped(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An application that has state, and no worker."""
    name = f"refused-{uuid4().hex[:8]}"
    made = Application(kafka, name, "counts", tmp_path_factory.mktemp("refused"))
    kafka.create(*map(made.topic, ("in", *OUTPUTS)), partitions=2, retention_ms="-1")
    produce(made)
    assert made.run().stop() == 0
    yield made
    made.close()


def goes_on(application: Application) -> None:
    """Nothing was lost by the refusal: the state is used as it is."""
    produce(application)
    worker = application.run()
    assert {task.restored for task in worker.wait_started(2).values()} == {0}
    assert worker.processed() == BLOCK
    assert worker.stop() == 0
    assert_exact(application)


def slot_of(application: Application) -> Path:
    return application.state_dir() / application.name / "worker-0"


@thorough
def test_one_that_another_process_uses(stopped: Application) -> None:
    own = json.loads((slot_of(stopped) / "streamer.json").read_text())["worker_id"]
    holder = stopped.worker(worker_id=own)
    holder.wait_started(2)

    error = refused(stopped, worker_id=own)

    slot = slot_of(stopped)
    assert f"the state directory {slot} is in use by process {holder.process.pid}" in error
    assert "stop that process, or give this worker a state_dir of its own" in error
    assert holder.is_alive
    assert holder.stop() == 0
    goes_on(stopped)


def test_one_of_another_application(stopped: Application) -> None:
    slot, name = slot_of(stopped), f"{stopped.name}-renamed"
    slot.parent.rename(slot.parent.with_name(name))
    before = content(stopped.state_dir())
    other = Application(stopped.kafka, name, stopped.module, stopped.directory)

    error = refused(other)

    moved = slot.parent.with_name(name) / slot.name
    assert f"the state in {moved} belongs to application {stopped.name!r}, not to {name!r}" in error
    assert "give each application a state_dir of its own" in error
    assert content(stopped.state_dir()) == before
    moved.parent.rename(slot.parent)
    goes_on(stopped)


def test_one_of_another_format(stopped: Application) -> None:
    file = slot_of(stopped) / "streamer.json"
    identity = file.read_text()
    file.write_text(json.dumps({**json.loads(identity), "format": 7}))
    before = content(stopped.state_dir())

    error = refused(stopped)

    assert f"the state in {file.parent} has format 7, this version of Streamer uses" in error
    assert "run the version of Streamer that made it" in error
    assert content(stopped.state_dir()) == before
    file.write_text(identity)
    goes_on(stopped)


def mark(database: Path, version: bytes) -> None:
    """Give a task's database another version of its format."""
    names = Rdict.list_cf(str(database), Options(raw_mode=True))
    families = {name: Options(raw_mode=True) for name in names}
    opened = Rdict(str(database), Options(raw_mode=True), column_families=families)
    opened[b"@format"] = version
    opened.close()


@thorough
def test_databases_of_another_format(stopped: Application) -> None:
    databases = sorted((slot_of(stopped) / "tasks").iterdir())
    for database in databases:
        mark(database, b"7")
    committed, ends = stopped.committed(), stopped.ends(stopped.changelog("totals"))

    error = refused(stopped)

    assert f"the database in {databases[0].parent}" in error
    assert "has format 7, this version of Streamer reads format 1" in error
    assert "move the directory away" in error
    assert (stopped.committed(), stopped.ends(stopped.changelog("totals"))) == (committed, ends)
    for database in databases:
        mark(database, b"1")
    goes_on(stopped)
