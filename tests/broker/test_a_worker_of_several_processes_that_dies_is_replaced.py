"""`streamer run --processes 2`: one of the two is killed, the other goes on, and a third comes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from typing import Any

from tests.broker.workers import PATIENCE_S, Application, Worker


def assignments(worker: Worker, text: str) -> int:
    return sum(text in message for message in worker.messages)


def produce(made: Application, sent: Counter[str]) -> None:
    keys = [f"k{number}" for number in range(50)] * 4
    made.kafka.produce(made.topic("in"), [(key, "x") for key in keys])
    sent.update(keys)


def test_both_work_again_and_a_stop_is_clean(application: Any) -> None:
    made: Application = application("changing.counted", partitions=4, commit_interval_ms=100)
    sent: Counter[str] = Counter()
    host = made.worker(processes=2)
    host.wait_started(4)
    produce(made, sent)
    made.wait_until_done(watch=[host])
    before = host.children()
    assert len(before) == 2
    os.kill(before[1], signal.SIGKILL)
    host.wait_for("has ended with code -9: starting it again in 1 s")
    deadline = time.monotonic() + PATIENCE_S
    while assignments(host, "queries, health and metrics") < 3:
        assert time.monotonic() < deadline, host.tail()
        time.sleep(0.05)
    assert before[0] in host.children()
    assert len(host.children()) == 2
    produce(made, sent)
    made.wait_until_done(watch=[host])
    # What a killed worker ended with is not what this ends with.
    assert host.stop() == 0
    last = {one.key: json.loads(one.value or b"null") for one in made.kafka.read(made.topic("out"))}
    assert last == {key.encode(): count for key, count in sent.items()}
