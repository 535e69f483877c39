"""An operation gives a topic a third partition and its application a third task, under producers
that learn of it late. It is killed right behind its record, so workers ask for the partition
themselves; and once no strays are expected any more, three tasks are folded into one, or the
operation is reverted: there are two again, by way of a topic of the application's own."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.kafka.admin import Admin
from streamer.record import Record
from tests.broker.folds import Conductor, does, running, told
from tests.broker.late import Writer, judge_chains
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

KEYS = [f"customer-{number}" for number in range(30)]
QUIET_MS = 4_000


@pytest.fixture
def made(application: Any) -> Application:
    return application("sequence", partitions=2, outputs=("results",))  # type: ignore[no-any-return]


@thorough
@pytest.mark.parametrize("back", [("plan", "0=1"), ("revert",)], ids=["folded", "reverted"])
def test_each_key_stays_in_order_there_and_back(
    made: Application, conductor: Conductor, wait_until: Any, back: tuple[str, ...]
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    topic = made.topic("in")
    written: list[Record] = []
    in_steps: dict[str, Any] = {
        "commit_interval_ms": 50,
        "max_poll_records": 100,
        "stray_quiet_ms": QUIET_MS,
    }
    workers = [made.worker("a", **in_steps), made.worker("b", **in_steps)]
    workers[0].wait_started(1)
    learns = Writer(made, KEYS[::2], written=written).start()
    remains = Writer(made, KEYS[1::2], written=written, believes=2).start()
    with Control(config) as control:
        wait_until(lambda: len(running(control)) == 2, what="both tasks of layout 1")
        wait_until(lambda: min(learns.rounds, remains.rounds) > 50, what="producers that write")

        plan = conductor.plan("0=3")
        assert plan["grown"] == {topic: 3}
        assert plan["sampled"][topic] > 100, "records told by which partitioner they were placed"
        assert admin.partitions([topic]) == {topic: 2}, "a plan changes nothing"
        conductor.dies("repartition.after_switch", plan["operation"])
        wait_until(lambda: len(running(control)) == 3, what="all tasks of layout 2")
        assert admin.partitions([topic]) == {topic: 3}
        does(made, "operations", "resume", plan["operation"], "--take-over")
        assert told(made, plan["operation"])["state"] == "done"

        assert "expect strays" in conductor.refused(*back)
        wait_until(lambda: 2 in learns.partitions, what="a producer that learns of the partition")
        remains.stop()
        assert remains.partitions == {0, 1}
        successor = Writer(made, remains.keys, written=written)
        successor.rounds = remains.rounds
        successor.start()
        wait_until(lambda: successor.rounds > remains.rounds + 20, what="a successor that writes")

        def may_leave() -> bool:
            code, _out, err = conductor.ends(*back, "--json")
            assert code == 0 or "expect strays" in err, err
            return code == 0

        wait_until(may_leave, what="strays that are not expected any more")
        does(made, "repartition", "apply")
        wanted = {"0_0"} if back[0] == "plan" else {"0_0", "0_1", "1_0", "1_1", "1_2"}
        assert running(control) == wanted
        for writer in (learns, successor):
            writer.stop()
        layout = current_layout(config, admin)
        assert layout is not None
        routed = layout.subtopologies[0].inputs.keys() - {topic}
        assert bool(routed) == (back[0] == "revert")
        own = [f"{one}.layout-{layout.number}" for one in routed]
        made.wait_until_done(topic, *own, watch=workers)

    judge_chains(made, config, layout, written)
    assert [one.stop() for one in workers] == [0, 0]
