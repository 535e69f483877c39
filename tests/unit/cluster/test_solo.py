"""A worker that is alone has everything at once."""

from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.cluster.member import Desired, Member
from streamer.cluster.solo import Solo
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.messages import TaskReport
from streamer.errors import ConfigError
from streamer.ids import TaskId

TASKS = [TaskId(0, 0), TaskId(0, 1)]
WORK = Work(frozenset(TASKS))


def test_all_tasks_are_its_own_from_the_start() -> None:
    solo = Solo(Config(application_id="shop", worker_id="w1"), work=WORK, clock=ManualClock())
    solo.start()
    assert solo.worker_id == "w1"
    assert solo.is_controller
    assert solo.desired() == Desired(1, frozenset(TASKS))
    reports = {TASKS[0]: TaskReport(state="running")}
    solo.report(1, reports, {})
    assert solo.tasks == reports
    assert solo.failure() is None


def test_after_being_fenced_it_takes_everything_on_again() -> None:
    solo = Solo(Config(application_id="shop"), work=WORK, clock=ManualClock())
    before = solo.incarnation
    solo.rejoin()
    assert solo.incarnation != before
    assert solo.desired() == Desired(2, frozenset(TASKS))
    solo.leave(1.0)


def test_a_member_needs_an_id() -> None:
    with pytest.raises(ConfigError, match="worker_id"):
        Member(Config(application_id="shop"), work=WORK, clock=ManualClock())
