"""A replay of an interval has two stages, and a worker goes from one to the other by itself."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.cli.replays.working import _Stage
from streamer.config import Config
from streamer.ids import TopicPartition
from streamer.worker import run
from streamer.worker.run import Signals

A, B, C = (TopicPartition("in", number) for number in range(3))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    admin = SimpleNamespace(committed=lambda _group, _places: found)
    monkeypatch.setattr("streamer.kafka.admin.Admin", lambda _config: admin)
    return found


def stage(is_over: bool = False) -> _Stage:
    asked: Any = SimpleNamespace(
        until={str(A): 5, str(B): 3}, input_places=[A, B, C], origin="app.replay-1"
    )
    config = Config(application_id="app", bootstrap_servers="127.0.0.1:9")
    return _Stage(config, asked, lambda: is_over)


def test_the_first_ends_when_all_tasks_are_where_the_newest_snapshots_stand(
    known: dict[TopicPartition, int],
) -> None:
    one = stage()
    assert one.until == {A: 5, B: 3, C: 0}
    for at, has_come in (({}, False), ({A: 5}, False), ({A: 4, B: 9}, False), ({A: 5, B: 3}, True)):
        known.clear()
        known.update(at)
        assert (one.is_over(), one.has_come) == (has_come, has_come)


def test_one_that_is_over_as_a_whole_has_no_second(known: dict[TopicPartition, int]) -> None:
    one = stage(is_over=True)
    known.update({A: 5, B: 3})
    assert one.is_over()
    assert not one.has_come


class Stopped:
    """A worker that was stopped so often."""

    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


def test_a_signal_between_two_workers_stops_the_one_that_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run.threading, "Timer", lambda *_given: SimpleNamespace(start=lambda: None))
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    config = Config(application_id="app", bootstrap_servers="127.0.0.1:9")
    signals = Signals()
    first: Any = Stopped()
    second: Any = Stopped()
    try:
        signals.attach(first, config)
        assert not signals.are_heard
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.are_heard
        assert first.stops == 1
        signals.attach(second, config)
        assert second.stops == 1
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
