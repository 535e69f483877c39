"""A thread of a member tries again, or tells why it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from streamer.cluster import threads
from streamer.cluster.threads import Threads
from streamer.errors import ConfigError, InvariantError, KafkaUnavailableError, StreamerError

LIMIT_S = 60.0


class Work:
    """Has one trouble after the other, and then waits until it is stopped."""

    def __init__(self, stopped: threading.Event, *troubles: Exception) -> None:
        self.troubles = [*troubles]
        self.is_well = threading.Event()
        self.stopped = stopped
        self.name = ""

    def run(self) -> None:
        self.name = threading.current_thread().name
        if self.troubles:
            raise self.troubles.pop(0)
        self.is_well.set()
        self.stopped.wait(LIMIT_S)


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Threads, Work]]:
    monkeypatch.setattr(threads, "AGAIN_S", 0.001)

    def made(fail: Callable[[StreamerError], None], *troubles: Exception) -> tuple[Threads, Work]:
        stopped = threading.Event()
        made, work = Threads(stopped, fail), Work(stopped, *troubles)
        made.start(work.run)
        return made, work

    return made


def test_trouble_that_passes_is_tried_again_until_it_is_stopped(
    begin: Callable[..., tuple[Threads, Work]],
) -> None:
    failures: list[StreamerError] = []
    trouble = KafkaUnavailableError("no coordinator")
    made, work = begin(failures.append, trouble, trouble)
    assert work.is_well.wait(LIMIT_S)
    work.stopped.set()
    made.join(time.monotonic() + LIMIT_S)
    assert (failures, work.name) == ([], "run")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("trouble", [ConfigError("no right to read the group"), ValueError("?")])
def test_any_other_trouble_is_told(
    begin: Callable[..., tuple[Threads, Work]], trouble: Exception
) -> None:
    told = threading.Event()
    failures: list[StreamerError] = []

    def fail(error: StreamerError) -> None:
        failures.append(error)
        told.set()

    made, _work = begin(fail, trouble)
    assert told.wait(LIMIT_S)
    made.join(time.monotonic() + LIMIT_S)
    [failure] = failures
    if isinstance(trouble, StreamerError):
        assert failure is trouble
    else:
        assert isinstance(failure, InvariantError)
        assert "thread run has died" in str(failure)
