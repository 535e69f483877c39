"""What the controller says in the log and in the metrics of what is not as it should be."""

from __future__ import annotations

import logging

import pytest

from streamer import metrics
from streamer.cluster.controller import _clear, _tell
from streamer.cluster.events import Tell
from streamer.control.requests import ModeRecord, PlanRecord


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
