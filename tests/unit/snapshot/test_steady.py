"""Patience with a repository, and the pace of transfers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamer.clock import ManualClock
from streamer.errors import RepositoryError, RepositoryUnavailableError
from streamer.snapshot.pace import Pace
from streamer.snapshot.remote.api import of_bytes
from streamer.snapshot.remote.steady import SteadyBackend
from streamer.snapshot.transfer import each
from tests.unit.snapshot.memory import MemoryBackend


class Trouble:
    """Fails as often as it is told to, in the calls that it is told of."""

    def __init__(self, times: int, call: str) -> None:
        self.left = times
        self._call = call

    def __call__(self, call: str, key: str) -> None:
        if call == self._call and self.left > 0:
            self.left -= 1
            raise RepositoryUnavailableError("the line is down", hint="mend it")


def steady(patience_ms: int = 10_000) -> tuple[SteadyBackend, MemoryBackend, ManualClock]:
    backend, clock = MemoryBackend(), ManualClock()

    def wait(seconds: float) -> None:
        clock.advance(int(seconds * 1000))

    return SteadyBackend(backend, patience_ms, clock=clock, wait=wait), backend, clock


@pytest.mark.parametrize("call", ["put", "stat", "list", "delete", "read", "chunk"])
def test_what_breaks_off_is_asked_again(call: str) -> None:
    place, backend, _clock = steady()
    place.put("other", of_bytes(b"x"), size=1)
    backend.before = Trouble(4, call)

    place.put("key", of_bytes(b"y" * 5_000), size=5_000)
    assert b"".join(place.read("key", start=10, length=3_000)) == b"y" * 3_000
    assert place.stat("key") is not None
    assert len([*place.list("")]) == 2
    place.delete("other")
    assert backend.before.left == 0


def test_a_read_goes_on_behind_the_last_byte() -> None:
    place, backend, _clock = steady()
    content = bytes(range(256)) * 40
    place.put("key", of_bytes(content), size=len(content))
    starts: list[int] = []
    real = backend.read

    def noted(key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        starts.append(start)
        return real(key, start=start, length=length)

    backend.read = noted  # type: ignore[method-assign]
    chunks = 0

    def breaking(call: str, key: str) -> None:
        nonlocal chunks
        chunks += call == "chunk"
        if call == "chunk" and chunks in (3, 6):
            raise RepositoryUnavailableError("cut")

    backend.before = breaking
    assert b"".join(place.read("key")) == content
    assert starts == [0, 2_000, 4_000]


def test_after_its_time_it_says_what_was_tried() -> None:
    place, backend, clock = steady(5_000)
    backend.before = Trouble(10**6, "stat")
    with pytest.raises(RepositoryUnavailableError, match=r"tried \d+ times .* is down") as raised:
        place.stat("key")
    assert raised.value.hint == "mend it"
    assert 2_000 <= clock.monotonic_ms() <= 5_000


def test_a_refusal_is_not_asked_again() -> None:
    place, backend, clock = steady()

    def refusing(call: str, key: str) -> None:
        raise RepositoryError("no")

    backend.before = refusing
    with pytest.raises(RepositoryError):
        place.stat("key")
    assert clock.monotonic_ms() == 0


def test_a_close_ends_the_waiting() -> None:
    backend = MemoryBackend()
    backend.before = Trouble(10**6, "stat")
    place = SteadyBackend(backend, 10**9)
    threading.Timer(0.1, place.close).start()
    with pytest.raises(RepositoryUnavailableError):
        place.stat("key")


def test_all_transfers_share_one_pace() -> None:
    clock = ManualClock()

    def sleep(seconds: float) -> None:
        clock.advance(int(seconds * 1000))

    pace = Pace(1_000_000, clock=clock, sleep=sleep)

    def move(_number: int) -> None:
        for _chunk in pace.through([b"x" * 100_000] * 10):
            pass

    each(range(3), move, parallel=1)
    # 3 MB at 1 MB/s, less what may be saved up.
    assert 2_600 <= clock.monotonic_ms() <= 3_000


def test_without_a_limit_nothing_waits() -> None:
    pace = Pace(0, sleep=lambda seconds: pytest.fail("it waited"))
    assert [*pace.through([b"x" * 10**6])] == [b"x" * 10**6]


@pytest.mark.parametrize("parallel", [1, 4])
def test_the_first_error_ends_all(parallel: int) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 5:
            raise ZeroDivisionError
        done.append(number)

    with pytest.raises(ZeroDivisionError):
        each(range(10_000), work, parallel=parallel)
    assert len(done) < 9_999
