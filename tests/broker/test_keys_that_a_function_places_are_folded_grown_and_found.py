"""Producers choose partitions by ranges of keys, and the application declares the function: keys
are found by it, four tasks become two, and the topic is given more partitions under a producer that
learns of them late."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.kafka.admin import Admin
from streamer.record import Record
from streamer.topology.declared import name_of
from tests.broker.applications.ranges import CUSTOMERS, by_range
from tests.broker.folds import Conductor, does, running, told
from tests.broker.late import Writer, judge_chains
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

pytestmark = pytest.mark.long

KEYS = [f"customer-{number}" for number in range(CUSTOMERS)]
BY = name_of(by_range)


@pytest.fixture
def made(application: Any) -> Application:
    return application("ranged", partitions=4, outputs=("results",))  # type: ignore[no-any-return]


@thorough
def test_each_key_stays_in_order_and_is_found(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    topic = made.topic("in")
    written: list[Record] = []
    in_steps: dict[str, Any] = {"max_poll_records": 100, "stray_quiet_ms": 4_000}
    workers = [made.worker("a", **in_steps), made.worker("b", **in_steps)]
    workers[0].wait_started(1)
    knows = Writer(made, KEYS[::2], written=written, believes=4, by=BY).start()
    late = Writer(made, KEYS[1::2], written=written, believes=4, by=BY).start()
    with Control(config) as control:
        wait_until(lambda: len(running(control)) == 4, what="all tasks of layout 1")
        wait_until(lambda: min(knows.rounds, late.rounds) > 30, what="producers that write")
        wait_until(lambda: are_found(workers, 4), what="keys in four tasks")

        # Those who resume it know the function by its name alone.
        operation = conductor.plan("0=2")["operation"]
        conductor.dies("repartition.after_proof", operation)
        does(made, "operations", "resume", operation, "--take-over")
        wait_until(lambda: running(control) == {"0_0", "0_1"}, what="both tasks of layout 2")
        wait_until(lambda: are_found(workers, 2), what="keys in two tasks")

        plan = conductor.plan("0=6")
        assert plan["grown"] == {topic: 6}
        does(made, "repartition", "apply")
        wait_until(lambda: len(running(control)) == 6, what="all tasks of layout 3")
        assert told(made, plan["operation"])["state"] == "done"
        knows.stop()
        successor = Writer(made, knows.keys, written=written, believes=6, by=BY)
        successor.rounds = knows.rounds
        successor.start()
        wait_until(lambda: successor.rounds > knows.rounds + 30, what="a successor that writes")
        assert {4, 5} <= successor.partitions
        wait_until(lambda: are_found(workers, 6), what="keys in six tasks")
        for writer in (late, successor):
            writer.stop()
        assert late.partitions == {0, 1, 2, 3}
        made.wait_until_done(topic, watch=workers)

    layout = current_layout(config, admin)
    assert layout is not None
    assert layout.subtopologies[0].partitioner == BY
    judge_chains(made, config, layout, written)
    assert [one.stop() for one in workers] == [0, 0]


def are_found(workers: list[Worker], tasks: int) -> bool:
    """Each key, whoever is asked, in so many tasks; not while their owners are not known."""
    try:
        rows = [worker.get(f"/stores/chains/{key}") for worker in workers for key in KEYS]
    except HTTPError as error:
        if error.code != 503:
            raise
        return False
    assert all(row["value"]["count"] > 0 for row in rows)
    return {row["task"] for row in rows} == {f"0_{number}" for number in range(tasks)}
