"""A setting of internal topics that no broker takes: the worker ends at once and names it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.broker.workers import Application


@pytest.mark.parametrize(
    ("settings", "told", "hint"),
    [
        ({"replication_factor": 3}, "replication factor", "set replication_factor"),
        (
            # Each for itself may be; that of a changelog is a day at most.
            {"internal_topics": json.dumps({"min.compaction.lag.ms": "864000000"})},
            "min.compaction.lag.ms",
            "correct internal_topics",
        ),
    ],
)
def test_the_worker_names_the_setting(
    application: Any, settings: dict[str, object], told: str, hint: str
) -> None:
    made: Application = application("changing.counted", **settings)
    worker = made.worker()
    assert worker.wait() == 2
    assert f"creating {made.name}-counts-changelog: " in worker.error
    assert told in worker.error.lower()
    assert f"hint: {hint}" in worker.error
    assert made.changelog("counts") not in made.kafka.topics()
