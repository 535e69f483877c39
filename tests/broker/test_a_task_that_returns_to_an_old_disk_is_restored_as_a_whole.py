"""A task goes to another worker, works on there for a week, and comes back to its first disk.

`delete.retention.ms` is three seconds here, so a week takes no longer. What was removed meanwhile
may have left the changelog: the old state may not be continued, and need not be.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from tests.broker.workers import Application

KEPT_S = 3.0


def produce(made: Application, sent: Counter[str]) -> None:
    keys = [f"k{number}" for number in range(50)] * 4
    made.kafka.produce(made.topic("in"), [(key, "x") for key in keys])
    sent.update(keys)


def test_an_old_state_is_put_aside_and_the_task_runs(application: Any) -> None:
    made: Application = application(
        "changing.counted",
        partitions=4,
        internal_topics=json.dumps({"delete.retention.ms": str(int(KEPT_S * 1000))}),
        commit_interval_ms=100,
    )
    sent: Counter[str] = Counter()
    first = made.worker("a")
    first.wait_started(4)
    produce(made, sent)
    made.wait_until_done(watch=[first])
    second = made.worker("b")
    moved = second.wait_started(2)
    deadline = time.monotonic() + KEPT_S + 1
    while time.monotonic() < deadline:
        produce(made, sent)
        made.wait_until_done(watch=[first, second])
        time.sleep(0.3)
    assert second.stop() == 0

    for task in moved:
        told = first.wait_for(f"the state of task {task} is 0.0 days too old")
        assert "It is restored as a whole from its changelogs; the old state was moved to" in told
    produce(made, sent)
    made.wait_until_done(watch=[first])
    assert {state["state"] for state in first.tasks().values()} == {"running"}
    last = {one.key: json.loads(one.value or b"null") for one in made.kafka.read(made.topic("out"))}
    assert last == {key.encode(): count for key, count in sent.items()}
    tasks = made.state_dir("a") / made.name / "worker-0" / "tasks"
    assert {path.name.partition(".old-")[0] for path in tasks.glob("*.old-*")} == set(moved)
    assert all((path / "CURRENT").exists() for path in tasks.glob("*.old-*"))
