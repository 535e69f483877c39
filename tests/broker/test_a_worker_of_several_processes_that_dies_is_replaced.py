"""`streamer run --processes 2`: one of the two is killed, the other goes on, and a third comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.broker.workers import APPLICATIONS, PATIENCE_S, Application, Worker


def started(made: Application, log: Path) -> Worker:
    """The process that a service manager would watch."""
    command = [sys.executable, "-m", "streamer.cli.main", "run"]
    command += [f"{APPLICATIONS}.changing.counted:app", "--processes", "2"]
    for name, value in {**made.settings, "state_dir": made.state_dir()}.items():
        command += ["--set", f"{name}={value}"]
    worker = Worker(command, {**os.environ, "STREAMER_TEST_APPLICATION": made.name}, log)
    made.workers.append(worker)
    return worker


def children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True)
    return [int(pid) for pid in found.stdout.split()]


def assignments(worker: Worker, text: str) -> int:
    return sum(text in message for message in worker.messages)


def produce(made: Application, sent: Counter[str]) -> None:
    keys = [f"k{number}" for number in range(50)] * 4
    made.kafka.produce(made.topic("in"), [(key, "x") for key in keys])
    sent.update(keys)


def test_both_work_again_and_a_stop_is_clean(application: Any, tmp_path: Path) -> None:
    made: Application = application("changing.counted", partitions=4, commit_interval_ms=100)
    sent: Counter[str] = Counter()
    host = started(made, tmp_path / "host.log")
    host.wait_started(4)
    produce(made, sent)
    made.wait_until_done(watch=[host])
    before = children(host.process.pid)
    assert len(before) == 2
    os.kill(before[1], signal.SIGKILL)
    host.wait_for("has ended with code -9: starting it again in 1 s")
    deadline = time.monotonic() + PATIENCE_S
    while assignments(host, "queries, health and metrics") < 3:
        assert time.monotonic() < deadline, host.tail()
        time.sleep(0.05)
    assert before[0] in children(host.process.pid)
    assert len(children(host.process.pid)) == 2
    produce(made, sent)
    made.wait_until_done(watch=[host])
    # What a killed worker ended with is not what this ends with.
    assert host.stop() == 0
    last = {one.key: json.loads(one.value or b"null") for one in made.kafka.read(made.topic("out"))}
    assert last == {key.encode(): count for key, count in sent.items()}
