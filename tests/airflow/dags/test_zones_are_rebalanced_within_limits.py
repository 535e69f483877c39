"""`rebalance_zones`: nothing where nothing is violated; exactly what was approved where it is."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from streamer.control.client import Control
from streamer.control.operator import Operator, Proposed
from streamer.errors import OperationRefusedError
from streamer_airflow.runs import operation_id
from tests.airflow.dags.conftest import Runs, states, xcom

pytestmark = [pytest.mark.broker]


def spread(runs: Callable[..., Runs]) -> Runs:
    """Two zones with a worker each, and four tasks."""
    here = runs(partitions=4)
    for zone in ("a", "b"):
        here.made.worker(zone, zone=f"az={zone}")
    for worker in here.made.workers:
        worker.wait_started(2)
    return here


def owners(here: Runs) -> dict[str, str]:
    with Control(here.config) as control:
        return {each.task: each.worker for each in control.tasks()}


def settled(here: Runs) -> None:
    deadline = time.monotonic() + 160
    with Operator(here.config) as operator:
        while (plan := operator.plan()) is None or plan.moves_left:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_an_even_placement_is_left_alone(runs: Callable[..., Runs]) -> None:
    here = spread(runs)
    settled(here)
    before = owners(here)
    done = here.run("rebalance_zones")
    assert done.state == "success"
    assert states(done) == {"propose": "skipped", "approve": "skipped", "apply": "skipped"}
    assert owners(here) == before


class Pressing:
    """Records for one worker's partitions alone, for as long as it is needed."""

    def __init__(self, here: Runs, partitions: list[int]) -> None:
        self._over = threading.Event()
        self._here, self._partitions = here, partitions
        self._thread = threading.Thread(target=self._go, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(80)

    def _go(self) -> None:
        topic = self._here.made.topic("in")
        while not self._over.wait(0.3):
            for number in self._partitions:
                records = [(f"key-{key}", "1") for key in range(1_000)]
                self._here.made.kafka.produce(
                    topic, records, partition=number, timestamp_ms=1_700_000_000_000
                )


def test_what_is_uneven_is_moved_as_it_was_approved(
    runs: Callable[..., Runs],
) -> None:
    here = spread(runs)
    settled(here)
    [first, _second] = here.made.workers
    mine = sorted(int(task.partition("_")[2]) for task in first.running())
    with Pressing(here, mine):
        deadline = time.monotonic() + 240
        with Operator(here.config) as operator:
            # Of sizes alone something may be moved before rates are told.
            while not (
                (proposal := operator.propose(timeout_s=120)).after
                and "rate" in proposal.spread_before
            ):
                assert time.monotonic() < deadline, proposal
                time.sleep(1)  # rates are told with the next statuses
        assert proposal.spread_before["rate"] > 30
        before = owners(here)
        # No task may move without a person.
        done = here.run("rebalance_zones", answers={"approve": "Approve"}, tasks_max=0)
        assert done.state == "success", states(done)
        assert set(states(done).values()) == {"success"}
        settled(here)
        after = owners(here)
    assert after != before
    counts = Counter(after.values())
    assert sorted(counts.values()) == [2, 2]
    hot = {after[f"0_{number}"] for number in mine}
    assert len(hot) == 2, "the two that have all records are apart"

    # Asked for again by the same run it is told what became of it; anybody else is refused.
    shown = xcom(done, "approve")[0]
    approved = Proposed(shown["proposal"], shown["number"], shown["at_ms"])
    number = operation_id("rebalance", "rebalance_zones", done.run_id, approved.id)
    with Operator(here.config) as operator:
        operator.apply_once(approved, timeout_s=120, number=number)
        with pytest.raises(OperationRefusedError, match="the controller refused"):
            operator.apply(approved.id, timeout_s=120)
        # Nor does a late try of the run undo what somebody says after it.
        operator.stop(timeout_s=120)
        with pytest.raises(OperationRefusedError, match="had every task stay where it is since"):
            operator.apply_once(approved, timeout_s=120, number=number)
        assert operator.stop_asked() is not None
