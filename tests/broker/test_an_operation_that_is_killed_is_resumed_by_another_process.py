"""Real processes, killed and frozen at an operation: others finish it, each effect is once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.cli.main import main
from streamer.cluster.ports import KafkaPorts
from streamer.config import Config
from streamer.control.operator import Operator
from streamer.control.requests import DrainRecord
from streamer.control.topics import ControlTopics
from streamer.errors import OperationRefusedError
from streamer.kafka.admin import Admin
from tests.broker.conftest import Kafka, Names, wait_until
from tests.broker.copying import NUMBERS, executor
from tests.thorough import thorough, thorough_but

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(kafka: Kafka, names: Names) -> Config:
    config = Config(
        application_id=names.application, bootstrap_servers=kafka.bootstrap_servers, worker_id="w1"
    )
    ControlTopics.prepare(config, Admin(config))
    kafka.create(names.topic("home"), partitions=1)
    return config


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def process(config: Config) -> Iterator[Start]:
    """Starts processes that carry out an operation; ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(verb: str, operation: str, **settings: object) -> subprocess.Popen[str]:
        given = {
            "application_id": config.application_id,
            "bootstrap_servers": config.bootstrap_servers,
            **settings,
        }
        command = [sys.executable, "-m", "tests.broker.copying", json.dumps(given), verb, operation]
        one = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.wait(240)
        assert one.stdout is not None
        one.stdout.close()


def copies(kafka: Kafka, config: Config, name: str) -> list[tuple[bytes | None, bytes | None]]:
    return [(row.key, row.value) for row in kafka.read(f"{config.application_id}.copy.{name}")]


def homes(kafka: Kafka, config: Config) -> list[bytes | None]:
    return [row.value for row in kafka.read(f"{config.application_id}.home")]


def assert_copied_once(kafka: Kafka, config: Config, name: str) -> None:
    found = [key for key, _value in copies(kafka, config, name)]
    assert sorted(found) == [str(number).encode() for number in range(NUMBERS)]
    assert homes(kafka, config) == [f"{config.application_id}.copy.{name}".encode()]


@pytest.mark.parametrize(
    "point",
    thorough_but(
        ["operations.after_claim=kill", "operations.before_step=kill@2"],
        [
            "operations.before_claim=kill",
            "operations.after_claim=kill",
            "operations.before_write=kill",
            "operations.after_write=kill",
            "operations.before_step=kill@2",
            "operations.before_write=kill@8",
            "operations.after_write=kill@8",
            "operations.after_step=kill@3",
        ],
    ),
)
def test_what_a_killed_process_began_is_finished_by_another_one(
    kafka: Kafka, config: Config, process: Start, point: str
) -> None:
    with executor(config) as mine:
        operation = mine.propose("copy", {"name": "one"}).id
        killed = process("start", operation, failpoints=point)
        assert killed.wait(480) == -signal.SIGKILL
        # At once, since it is known that the process is dead.
        done = mine.start(operation, takes_over=True)
        assert done.state == "done"
        books = mine.books()
        lock = books.lock("application")
        assert lock is not None
        assert (lock.operation, lock.epoch) == ("", done.epoch)
    assert_copied_once(kafka, config, "one")


def test_a_transaction_that_a_killed_process_left_open_holds_nobody_up_for_long(
    kafka: Kafka, config: Config, process: Start
) -> None:
    admin = Admin(config)
    topics = ControlTopics.find(config, admin)

    def is_open() -> bool:
        place = [topics.operations]
        return admin.ends(place) != admin.ends(place, "read_uncommitted")

    with executor(config) as mine:
        operation = mine.propose("copy", {"name": "one"}).id
        killed = process("start", operation, failpoints="table.before_commit=sleep:60000@3")
        wait_until(is_open)
        killed.kill()
        killed.wait(240)
        # A new controller reads the topic to its end, and gives up after half a minute.
        ports = KafkaPorts(config, topics, admin)
        try:
            assert ports.requests() == []
        finally:
            ports.close()
        assert mine.start(operation, takes_over=True).state == "done"
    assert_copied_once(kafka, config, "one")


@thorough
def test_a_step_that_tells_nothing_for_longer_than_its_lease_keeps_it(
    config: Config, process: Start
) -> None:
    with executor(config) as mine:
        operation = mine.propose("copy", {"name": "one"}).id
        working = process("start", operation, pause_s=120, lease_ms=12_000)
        assert working.stdout is not None
        while "copied 0" not in working.stdout.readline():
            assert working.poll() is None
        # Longer than the lease, and shorter than the step.
        time.sleep(15)
        with pytest.raises(OperationRefusedError, match="is carried out by"):
            mine.resume(operation)


@thorough
def test_a_lease_that_is_over_needs_no_one_who_asks_for_it(
    kafka: Kafka, config: Config, process: Start
) -> None:
    with executor(config) as mine:
        operation = mine.propose("copy", {"name": "one"}).id
        point = "operations.before_step=kill@2"
        assert process("start", operation, failpoints=point, lease_ms=8_000).wait(480) != 0
        with pytest.raises(OperationRefusedError, match="is carried out by"):
            mine.resume(operation)
        assert mine.resume(operation, waits=True).state == "done"
    assert_copied_once(kafka, config, "one")


def test_a_frozen_process_that_wakes_writes_nothing_more(
    kafka: Kafka, config: Config, process: Start
) -> None:
    with executor(config) as mine:
        operation = mine.propose("copy", {"name": "one"}).id
        frozen = process("start", operation, pause_s=2.0)
        assert frozen.stdout is not None
        while "copied 2" not in frozen.stdout.readline():
            assert frozen.poll() is None
        os.kill(frozen.pid, signal.SIGSTOP)
        assert mine.resume(operation, takes_over=True).state == "done"
        rows = copies(kafka, config, "one")
        os.kill(frozen.pid, signal.SIGCONT)
        assert frozen.wait(480) == 1
        rest = frozen.stdout.read()
        assert "FencedError: operation" in rest
        assert "is not carried out here any more" in rest
        assert mine.books().operation(operation).state == "done"
    assert copies(kafka, config, "one") == rows
    assert {value for _key, value in rows} == {b"1", b"2"}
    assert_copied_once(kafka, config, "one")


def test_a_second_operation_is_refused_at_once_and_leaves_no_trace(
    kafka: Kafka, config: Config, process: Start
) -> None:
    with executor(config) as mine:
        first = mine.propose("copy", {"name": "one"}).id
        second = mine.propose("copy", {"name": "two"}).id
        working = process("start", first, pause_s=0.8)
        assert working.stdout is not None
        while "copied" not in working.stdout.readline():
            assert working.poll() is None
        with pytest.raises(OperationRefusedError) as refused:
            mine.start(second)
        assert f"application is held by operation {first} (copy), carried out by" in str(
            refused.value
        )
        assert mine.books().operation(second).state == "planned"
        assert working.wait(480) == 0
        assert mine.books().operation(first).epoch == 1, "it was not disturbed"
        # Its plan was made of the former home.
        with pytest.raises(OperationRefusedError, match=r"seen\.home"):
            mine.start(second)
    assert f"{config.application_id}.copy.two" not in kafka.topics()
    assert_copied_once(kafka, config, "one")


def test_the_command_line_lists_cancels_and_refuses(
    kafka: Kafka, config: Config, process: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: str) -> int:
        where = ("--app", config.application_id, "--bootstrap-servers", config.bootstrap_servers)
        return main(["operations", *arguments, *where])

    with executor(config) as mine:
        operation = mine.propose("copy", {"name": "one"}, why="the old one is full").id
        working = process("start", operation, pause_s=2.0)
        assert working.stdout is not None
        while "copied 1" not in working.stdout.readline():
            assert working.poll() is None

        assert call("list", "--json") == 0
        [told] = json.loads(capsys.readouterr().out)
        assert (told["state"], told["is_live"]) == ("running", True)
        assert told["why"] == "the old one is full"
        assert call("resume", operation) == 3
        assert "cannot be carried out here; known are: " in capsys.readouterr().err

        assert call("cancel", operation, "--why", "wrong day") == 0
        assert f"operation {operation} is cancelled" in capsys.readouterr().out
        assert working.wait(480) == 0
        assert working.stdout.read().splitlines()[-1] == "cancelled"
        assert homes(kafka, config) == []
        assert call("show", operation) == 0
        assert "undone" in capsys.readouterr().out


def test_requests_to_the_controller_stand_beside_operations(config: Config) -> None:
    topics, admin = ControlTopics.find(config, Admin(config)), Admin(config)
    with executor(config) as mine, Operator(config) as operator:
        operator.drain(zones=["az=a"], workers=[])
        assert mine.start(mine.propose("copy", {"name": "one"}).id).state == "done"
        ports = KafkaPorts(config, topics, admin)
        try:
            ports.load()
            [found] = ports.requests()
        finally:
            ports.close()
        assert isinstance(found, DrainRecord)
        assert operator.draining().zones == ("az=a",)
