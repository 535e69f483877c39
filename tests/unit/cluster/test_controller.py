"""What the controller says in the log and in the metrics, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import cast

import pytest

from streamer import metrics
from streamer.clock import SystemClock
from streamer.cluster.controller import Controller, _clear, _tell
from streamer.cluster.events import Tell, Write
from streamer.cluster.ports import KafkaPorts
from streamer.cluster.work import Work
from streamer.control.messages import StatusRecord
from streamer.control.requests import ModeRecord, PlanRecord
from tests.unit.cluster.test_term import Script

WAIT_S = 240.0


def test_a_degraded_mode_is_logged_when_it_begins_and_shown_until_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mode = ModeRecord(name="one_zone_left", concerns=3, until="workers in 2 zones", since_ms=50)
    with caplog.at_level(logging.INFO, "streamer"):
        _tell(Tell(PlanRecord(controller="boss", modes=(mode,), at_ms=50)))
        _tell(Tell(PlanRecord(controller="boss", modes=(mode,), at_ms=90)))
    assert [one.getMessage() for one in caplog.records] == [
        "one_zone_left; it ends with: workers in 2 zones"
    ]
    shown = 'streamer_placement_degraded{mode="one_zone_left"} 3.0'
    assert shown in metrics.expose().decode()
    _tell(Tell(PlanRecord(controller="boss", at_ms=95)))
    assert "one_zone_left" not in metrics.expose().decode()


def test_a_former_controller_shows_nothing_of_its_term() -> None:
    mode = ModeRecord(name="one_zone_left", concerns=3, until="workers in 2 zones", since_ms=50)
    plan = PlanRecord(controller="boss", modes=(mode,), moves_left=4, waiting=2, at_ms=60)
    _tell(Tell(plan))
    metrics.members.set(3)
    _clear()
    shown = metrics.expose().decode()
    assert "one_zone_left" not in shown
    for name in ("controller", "members", "placement_moves", "placement_waiting"):
        assert f"streamer_{name} 0.0" in shown


def test_a_plan_that_is_written_with_its_grants_is_told_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mode = ModeRecord(name="too_few_hosts", concerns=2, until="workers on 2 hosts", since_ms=50)
    with caplog.at_level(logging.INFO, "streamer"):
        _tell(Write((), plan=PlanRecord(controller="boss", modes=(mode,), at_ms=50)))
    assert "too_few_hosts; it ends with: workers on 2 hosts" in caplog.messages
    _tell(Tell(PlanRecord(controller="boss", at_ms=95)))


class LateElection(Script):
    """Ports of a process that hears that it was elected while it is being stopped."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__()
        self.in_office = threading.Event()
        self.stopping = stopping
        self.elected: Controller | None = None

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        self.in_office.set()
        if self.elected is not None and self.stopping.wait(0.001):
            self.elected.elect(True)
        return []

    def close(self) -> None:
        self.asked.append("close")


def test_a_controller_that_is_stopped_takes_no_election_any_more() -> None:
    stopping = threading.Event()
    ports = LateElection(stopping)
    made = Controller(
        lambda: cast(KafkaPorts, ports),
        me=("w1", "s1"),
        work=Work(frozenset()),
        suspicion_ms=6_000,
        clock=SystemClock(),
    )
    ports.elected = made
    made.start()
    made.elect(True)
    assert ports.in_office.wait(WAIT_S)
    stopping.set()
    made.stop(WAIT_S)
    assert not made._thread.is_alive()
    assert ports.asked[-1] == "close"
    assert not made.is_in_office
