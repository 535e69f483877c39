"""What a worker shows over HTTP of itself and of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from streamer.clock import ManualClock
from streamer.cluster.lease import Lease
from streamer.config import Config
from streamer.ids import TaskId
from streamer.task.lifecycle import TaskState
from streamer.worker.serving import WorkerServing

TASK = TaskId(0, 0)
RUNS, RESTORES, NEVER_RAN = TaskId(0, 1), TaskId(0, 2), TaskId(0, 3)


def active(task: TaskId, state: TaskState, time_ms: int = 70) -> Any:
    return SimpleNamespace(
        task=task,
        state=state,
        committed_time_ms=time_ms,
        committed_times={"totals": time_ms},
        database=None,
        lag_records=5,
    )


class Known:
    """Owners that were looked up before."""

    def owner(self, task: TaskId) -> str:
        return f"owner-of-{task}:8080"

    def standbys(self, task: TaskId) -> list[tuple[str, int]]:
        return [(f"copy-of-{task}:8080", 3)]


def test_where_owners_and_copies_are_is_looked_up_when_there_is_a_cluster() -> None:
    given: Any = None
    config = Config(application_id="spend", acceptable_recovery_lag=77, standby_replicas=1)
    serving = WorkerServing(given, given, tasks=given, config=config)
    assert (serving.owner(TASK), serving.standbys(TASK)) == (None, [])
    known: Any = Known()
    serving.owners = known
    assert serving.owner(TASK) == "owner-of-0_0:8080"
    assert serving.standbys(TASK) == [("copy-of-0_0:8080", 3)]
    assert serving.acceptable_lag == 77
    assert serving.keeps_copies


def test_an_owner_whose_lease_is_over_shows_copies_of_what_it_had() -> None:
    given: Any = None
    tasks: Any = SimpleNamespace(
        all=[
            active(RUNS, TaskState.RUNNING),
            active(RESTORES, TaskState.RESTORING),
            active(NEVER_RAN, TaskState.FAILED, -1),
        ],
        standbys=SimpleNamespace(all=[]),
        restore_lag=lambda task: 12,
    )
    serving = WorkerServing(given, given, tasks=tasks, config=Config(application_id="spend"))
    assert serving.tasks()[0].state == "running"  # One that is alone needs no lease.
    clock = ManualClock()
    serving.lease = Lease(1_000, clock)
    serving.lease.renew(clock.monotonic_ms())
    clock.advance(999)
    assert [(one.state, one.lag_records) for one in serving.tasks()] == [
        ("running", 5),
        ("restoring", 5),
        ("failed", 5),
    ]
    clock.advance(1)
    runs, restores, never_ran = serving.tasks()
    assert (runs.state, runs.behind, runs.age_ms, runs.is_lapsed) == ("standby", 0, 1_000, True)
    assert runs.time_of("totals") == 70
    # Nobody takes these for an owner's: they say how far they are, or are not read at all.
    assert [(one.state, one.is_lapsed) for one in (restores, never_ran)] == [
        ("restoring", False),
        ("failed", False),
    ]


def test_a_copy_here_is_not_looked_for_at_this_workers_own_address() -> None:
    given: Any = None
    serving = WorkerServing(given, given, tasks=given, config=Config(application_id="spend"))
    known: Any = Known()
    serving.owners, serving.address = known, "owner-of-0_0:8080"
    assert serving.owner(TASK) is None
    assert serving.owner(RUNS) == "owner-of-0_1:8080"
