"""Workers pause for a switch of layouts: it is lifted, its lease ends, or the switch is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.current import current_layout, write_layout
from streamer.control.right import LayoutRight
from streamer.errors import FencedError
from streamer.ids import Layout, TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.api import Committed
from streamer.kafka.consumer import InputConsumer
from tests.broker.test_fewer_tasks_than_partitions_lose_nothing import (
    folded,
    found,
    running,
    shop,
)
from tests.broker.test_records_are_rekeyed_and_joined_exactly_once import (
    START_MS,
    purchases,
    totals,
)
from tests.broker.workers import PATIENCE_S, Application

LONG_MS = 600_000


def positions(made: Application, config: Config) -> Mapping[TopicPartition, Committed]:
    """Where the tasks of subtopology 1 stand."""
    reader = InputConsumer(config)
    try:
        return reader.committed([TopicPartition(made.topic("in"), one) for one in range(12)])
    finally:
        reader.close()


def test_it_holds_through_kills_and_ends_in_a_switch_or_in_nothing(
    application: Any, wait_until: Any
) -> None:
    made = shop(application)
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    layout, admin = folded(made), Admin(config)
    write_layout(config, admin, layout)
    own = [f"{made.name}-{one}-repartition.layout-2" for one in ("by-customer", "cities")]
    sent = purchases(0)
    made.kafka.produce(made.topic("in"), sent, timestamp_ms=START_MS + 1_000)
    first, second = made.worker("a"), made.worker("b")
    made.wait_until_done(made.topic("in"), made.topic("customers"), *own, watch=[first, second])

    with LayoutRight.claim(config, admin) as right:
        right.pause(lease_ms=LONG_MS)
        right.wait_until_held(timeout_s=PATIENCE_S)
        stood = positions(made, config)
        more = purchases(len(sent))
        made.kafka.produce(made.topic("in"), more, timestamp_ms=START_MS + 2_000)
        # Whoever takes over gets the pause with the tasks: be it that the controller has died.
        second.kill()
        wait_until(lambda: len(running([first])) == 9, what="all tasks at one worker")
        third = made.worker("c")
        wait_until(lambda: third.running(), what="tasks of a worker that came meanwhile")
        assert positions(made, config) == stood
        assert found(made) == totals(sent)
        for city, (_sales, cents) in totals(sent).items():
            assert first.get(f"/stores/cities/{city}")["value"]["cents"] == cents
        right.lift()
    sent += more
    workers = [first, third]
    made.wait_until_done(made.topic("in"), *own, watch=workers)
    assert found(made) == totals(sent)

    with LayoutRight.claim(config, admin) as late:
        late.pause(lease_ms=1_000)
        late.wait_until_held(timeout_s=PATIENCE_S)
        more = purchases(len(sent))
        made.kafka.produce(made.topic("in"), more, timestamp_ms=START_MS + 3_000)
        sent += more
        made.wait_until_done(made.topic("in"), *own, watch=workers)
        assert found(made) == totals(sent)
        with pytest.raises(FencedError, match="came too late, and was not made"):
            late.switch(layout.folded({1: 6}), positions(made, config))
    assert current_layout(config, admin) == layout

    with LayoutRight.claim(config, admin) as right:
        right.pause(lease_ms=LONG_MS)
        right.wait_until_held(timeout_s=PATIENCE_S)
        right.switch(layout.folded({1: 6}), positions(made, config), operation="a test")
    for worker in workers:
        worker.wait_for("11 tasks in all, layout 3")
    more = purchases(len(sent))
    made.kafka.produce(made.topic("in"), more, timestamp_ms=START_MS + 4_000)
    made.wait_until_done(made.topic("in"), *own, watch=workers)
    assert found(made) == totals(sent + more)
    recorded = current_layout(config, admin)
    assert recorded is not None
    assert recorded.number == Layout(3)
    assert [worker.stop() for worker in workers] == [0, 0]
