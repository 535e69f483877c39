"""A topic of two partitions is taken over into one of the application's own: its tasks become
three, then one, then five, under load, with a conductor that is killed right behind a switch and a
worker that is killed while it takes records over."""

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
from tests.broker.workers import KILLED, Application

pytestmark = pytest.mark.long

KEYS = [f"customer-{number}" for number in range(30)]
IN_STEPS: dict[str, Any] = {"commit_interval_ms": 50, "max_poll_records": 100}


@pytest.fixture
def made(application: Any) -> Application:
    return application("sequence", partitions=2, outputs=("results",))  # type: ignore[no-any-return]


def test_each_key_stays_in_order(made: Application, conductor: Conductor, wait_until: Any) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    written: list[Record] = []
    workers = [made.worker("a", **IN_STEPS), made.worker("b", **IN_STEPS)]
    workers[0].wait_started(1)
    writer = Writer(made, KEYS, written=written).start()
    with Control(config) as control:
        wait_until(lambda: len(running(control)) == 2, what="both tasks of layout 1")
        wait_until(lambda: writer.rounds > 50, what="a producer that writes")

        plan = conductor.plan("0=3", "--mode", "routed")
        assert plan["routed"] == {made.topic("in"): 2}
        conductor.dies("repartition.after_switch", plan["operation"])
        does(made, "operations", "resume", plan["operation"], "--take-over")
        assert told(made, plan["operation"])["state"] == "done"
        assert running(control) == {"0_0", "0_1", "0_2", "1_0", "1_1"}
        assert admin.partitions([made.topic("in")]) == {made.topic("in"): 2}
        code, _out, err = conductor.ends("plan", "0=2", "--mode", "fold")
        assert (code, "is routed, and stays so" in err) == (2, True)

        workers.append(
            made.worker("c", failpoints="commit.before_transaction_commit=kill@20", **IN_STEPS)
        )
        assert workers.pop().wait() == KILLED
        for tasks in (1, 5):
            does(made, "repartition", "apply", conductor.plan(f"0={tasks}")["operation"])
            wanted = {f"0_{task}" for task in range(tasks)} | {"1_0", "1_1"}
            assert running(control) == wanted
    writer.stop()
    layout = current_layout(config, admin)
    assert layout is not None
    (own,) = layout.subtopologies[0].inputs
    made.wait_until_done(made.topic("in"), f"{own}.layout-{layout.number}", watch=workers)

    judge_chains(made, config, layout, written)
    assert [one.stop() for one in workers] == [0, 0]
