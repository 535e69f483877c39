"""A topic of 12 partitions runs with 4 tasks, as a recorded layout says; then with 6."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.current import write_layout
from streamer.errors import OperationRefusedError
from streamer.ids import Layout
from streamer.kafka.admin import Admin
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from tests.broker.commands import answer
from tests.broker.test_records_are_rekeyed_and_joined_exactly_once import (
    CITIES,
    CUSTOMERS,
    START_MS,
    purchases,
    totals,
)
from tests.broker.workers import KILLED, Application, Worker
from tests.thorough import thorough

LAYOUT = Layout(2)
TASKS = {"0_0", "0_1", "1_0", "1_1", "1_2", "1_3", "2_0", "2_1", "2_2"}


def folded(made: Application) -> ApplicationLayout:
    """4 tasks over 12 partitions, 2 over a table of 6 and the topic that it is joined with, and 3
    behind a topic of their own."""
    by_customer, cities = (f"{made.name}-{one}-repartition" for one in ("by-customer", "cities"))
    return ApplicationLayout(
        LAYOUT,
        {
            0: SubtopologyLayout(
                2,
                LAYOUT,
                {
                    made.topic("customers"): InputLayout(6),
                    by_customer: InputLayout(2, is_internal=True),
                },
            ),
            1: SubtopologyLayout(4, LAYOUT, {made.topic("in"): InputLayout(12)}, keeps_state=False),
            2: SubtopologyLayout(3, LAYOUT, {cities: InputLayout(3, is_internal=True)}),
        },
    )


def shop(application: Any) -> Application:
    """12 partitions of purchases and 6 of a table, which has all its customers."""
    made: Application = application("shop", partitions=12)
    made.kafka.create(
        made.topic("customers"), partitions=6, retention_ms="-1", cleanup_policy="compact"
    )
    rows = [(f"c{one}", json.dumps({"city": f"city-{one % CITIES}"})) for one in range(CUSTOMERS)]
    made.kafka.produce(made.topic("customers"), rows, timestamp_ms=START_MS)
    return made


def found(made: Application) -> dict[str, tuple[int, int]]:
    """The sums, which never go back."""
    sums: dict[str, tuple[int, int]] = {}
    for record in made.kafka.read(made.topic("out")):
        city, row = (record.key or b"").decode(), json.loads(record.value or b"null")
        assert row["sales"] > sums.get(city, (0, 0))[0]
        sums[city] = (row["sales"], row["cents"])
    return sums


def running(workers: list[Worker]) -> set[str]:
    return {task for worker in workers for task in worker.running()}


@thorough
def test_the_sums_are_right_through_a_kill_and_a_change_of_a_layout(
    application: Any, wait_until: Any
) -> None:
    made = shop(application)
    records = purchases(0)
    made.kafka.produce(made.topic("in"), records, timestamp_ms=START_MS + 1_000)
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    layout, admin = folded(made), Admin(config)
    write_layout(config, admin, layout)
    write_layout(config, admin, layout)  # once more: done already
    with pytest.raises(OperationRefusedError, match="layout 4 cannot follow layout 2"):
        write_layout(config, admin, layout.folded({1: 6}).folded({1: 12}))

    in_steps = {"commit_interval_ms": 1, "max_poll_records": 300}
    points = "commit.after_transaction_commit=kill@9"
    killed = made.worker("a", failpoints=points, **in_steps)
    other = made.worker("b", **in_steps)
    assert killed.wait() == KILLED
    workers = [made.worker("a"), other]
    own = [f"{made.name}-{one}-repartition.layout-2" for one in ("by-customer", "cities")]
    made.wait_until_done(made.topic("in"), made.topic("customers"), *own, watch=workers)
    assert found(made) == totals(records)
    wait_until(lambda: running(workers) == TASKS, what="all tasks of layout 2")
    assert [len(made.kafka.partitions(topic)) for topic in own] == [2, 3]
    assert len(made.kafka.partitions(f"{made.changelog('cities')}.layout-2")) == 3
    assert not made.kafka.partitions(made.changelog("cities"))
    own_disk = made.state_dir("b") / made.name / "worker-0" / "tasks"
    assert {path.name.partition(".")[2] for path in own_disk.iterdir()} == {"layout-2"}
    where = ("--app", made.name, "--bootstrap-servers", made.kafka.bootstrap_servers)
    told = answer("show", "layout", *where)
    assert (told["number"], told["is_recorded"]) == (2, True)
    assert [each["tasks"] for each in told["subtopologies"]] == [2, 4, 3]
    for city, (_sales, cents) in totals(records).items():
        for worker in workers:  # whoever has it, and whoever has to ask
            # Its owner hears of a commit after the broker has told it to others.
            wait_until(
                lambda at=worker, of=city, wanted=cents: (
                    at.get(f"/stores/cities/{of}")["value"]["cents"] == wanted
                ),
                what=f"the cents of {city}",
            )

    # Subtopology 1 keeps no state, so any number of tasks can take it over.
    write_layout(config, admin, layout.folded({1: 6}))
    for worker in workers:
        worker.wait_for("layout 3 was recorded; this worker runs layout 2")
        worker.wait_for("11 tasks in all, layout 3")
    more = purchases(len(records))
    made.kafka.produce(made.topic("in"), more, timestamp_ms=START_MS + 1_000)
    made.wait_until_done(made.topic("in"), *own, watch=workers)
    assert found(made) == totals(records + more)
    assert {"1_4", "1_5"} <= {task for worker in workers for task in worker.started()}
    assert [worker.stop() for worker in workers] == [0, 0]
