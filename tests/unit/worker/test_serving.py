"""What a worker shows over HTTP of itself and of others."""

from __future__ import annotations

from typing import Any

from streamer.config import Config
from streamer.ids import TaskId
from streamer.worker.serving import WorkerServing

TASK = TaskId(0, 0)


class Known:
    """Owners that were looked up before."""

    def owner(self, task: TaskId) -> str:
        return f"owner-of-{task}:8080"

    def standbys(self, task: TaskId) -> list[tuple[str, int]]:
        return [(f"copy-of-{task}:8080", 3)]


def test_where_owners_and_copies_are_is_looked_up_when_there_is_a_cluster() -> None:
    given: Any = None
    config = Config(application_id="spend", acceptable_recovery_lag=77)
    serving = WorkerServing(given, given, tasks=given, config=config)
    assert (serving.owner(TASK), serving.standbys(TASK)) == (None, [])
    known: Any = Known()
    serving.owners = known
    assert serving.owner(TASK) == "owner-of-0_0:8080"
    assert serving.standbys(TASK) == [("copy-of-0_0:8080", 3)]
    assert serving.acceptable_lag == 77
