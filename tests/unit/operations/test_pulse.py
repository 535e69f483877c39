"""The lease is renewed beside a step that tells nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamer.errors import FencedError, KafkaUnavailableError
from streamer.operations.pulse import Pulse


class Held:
    """A hold with a lease of 30 ms."""

    class lock:  # noqa: N801
        lease_ms = 30

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = [*answers]
        self.writes = 0
        self.is_over = threading.Event()

    def write(self) -> None:
        self.writes += 1
        if not self._answers:
            self.is_over.set()
            return
        if (answer := self._answers.pop(0)) is not None:
            raise answer


def test_it_goes_on_while_brokers_are_away(caplog: pytest.LogCaptureFixture) -> None:
    held: Any = Held(None, KafkaUnavailableError("away"), None)
    with Pulse(held):
        assert held.is_over.wait(40)
    assert held.writes >= 4
    assert "the lease could not be renewed yet: away" in caplog.text


def test_it_ends_when_the_lock_is_lost() -> None:
    held: Any = Held(FencedError("gone"))
    pulse = Pulse(held)
    pulse._thread.join(40)
    assert held.writes == 1
    pulse.close()
