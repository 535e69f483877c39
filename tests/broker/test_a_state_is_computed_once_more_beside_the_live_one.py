"""All of the input is read again by workers of their own, under load, while the application goes
on; then it goes on with what they have computed. The conductor and a worker that reads again are
killed, another try is cancelled; nothing is lost, doubled or written twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_record
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, does, judge, own, running, told
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long


@pytest.fixture
def made(application: Any) -> Application:
    return application("folding", outputs=("totals", "groups"), partitions=4)  # type: ignore[no-any-return]


def equal(conductor: Conductor, operation: str) -> bool:
    """Whether nothing differs but what is on its way, of which there is something to compare."""
    code, out, err = conductor.ends("diff", operation, "--json", command="replay")
    assert code in (0, 1), f"{out}\n{err}"
    found = json.loads(out)
    assert [one["store"] for one in found] == ["totals", "groups"]
    return code == 0 and all(one["same"] for one in found)


def left(made: Application, admin: Admin, operation: str) -> list[str]:
    """The topics of the application that read again, and those of another layout."""
    own = f"{made.name}.{operation}"
    return [topic for topic in admin.topics() if topic.startswith(own)]


@thorough
def test_it_goes_on_with_it(made: Application, conductor: Conductor, wait_until: Any) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    with Feeder(made, rate=300) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")

        # Killed before anything is switched, and cancelled: nothing is left of it.
        operation = conductor.plan(command="replay")["operation"]
        conductor.dies("repartition.after_topics", operation, "--processes", "1", command="replay")
        does(made, "operations", "cancel", operation, "--take-over")
        assert left(made, admin, operation) == []
        assert current_record(config, admin).number == 1  # type: ignore[union-attr]

        # By workers that are started by hand, of which one is killed: the next goes on for it.
        operation = conductor.plan(command="replay")["operation"]
        conductor.dies("repartition.after_topics", operation, "--processes", "1", command="replay")
        first = conductor.works(operation)
        wait_until(lambda: equal(conductor, operation), what="two states that are the same")
        first.kill()
        conductor.works(operation)
        does(made, "operations", "resume", operation, "--take-over")
        said = {step["id"]: step.get("said", "") for step in told(made, operation)["steps"]}
        assert "layout 2 is recorded; nothing was processed for" in said["switch"]
        assert left(made, admin, operation) == []
        assert len(running(control)) == 8
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 2), watch=workers)
    judge(made, config)
    # Once the input has lost its begin that is said, and not that re-keyed tasks need it.
    lost = TopicPartition(made.topic("in"), 0)
    admin.delete_before({lost: 1})
    code, _out, err = conductor.ends("plan", command="replay")
    assert code == 3, err
    assert f"the input does not reach back to its begin any more: {lost} begins at 1" in err
    assert "nor can it begin with snapshots" in err
    assert [worker.stop() for worker in workers] == [0, 0]
