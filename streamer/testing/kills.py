"""Kills an operation everywhere it can die, goes on with it, and compares the end.

    check_kills(make)     killed at each moment, twice, then resumed: the end of a run without kills
    check_cancels(make)   killed at each moment, then cancelled, with kills too: nothing happened
    check_zombies(make)   at each moment another process takes over, and the first one wakes later

A moment is a hit of a failpoint: those around each step, each write of the record and each claim,
and those inside side effects that the caller names. `make` gives a new `Scene` each time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import NamedTuple, Protocol

from streamer import failpoints
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.errors import FencedError, OperationRefusedError
from streamer.kafka.fake import FakeBroker
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds, Request
from streamer.operations.lock import LEASE_MS

__all__ = [
    "Moment",
    "OperationScene",
    "Scene",
    "check_cancels",
    "check_kills",
    "check_zombies",
    "moments",
]

AROUND_STEPS = frozenset(name for name in failpoints.NAMES if name.startswith("operations."))


class Killed(BaseException):
    """What dies here dies without a word: nothing that handles errors sees it. A `finally` still
    runs, other than after SIGKILL; scenarios with a real broker kill processes."""


class Moment(NamedTuple):
    """The `nth` hit of a failpoint."""

    point: str
    nth: int


class Scene(Protocol):
    """A world with one operation in it, which is planned."""

    def execute(self) -> None:
        """As a process of its own: start it or, where it has begun, resume it, to its end."""

    def cancel(self) -> None:
        """As a process of its own. Raises OperationRefusedError where there is no way back."""

    def lapse(self) -> None:
        """Let so much time pass that a dead process is known to be dead."""

    def end(self) -> object:
        """Everything that must be the same, to be compared with `==`."""


def moments(
    run: Callable[[], None], points: Collection[str] = (), *, misses: bool = False
) -> list[Moment]:
    """All that a run comes by, in the order of their points. Raises AssertionError where it never
    comes by one of those that were named, unless it `misses` some by right."""
    counts = dict.fromkeys(sorted(AROUND_STEPS | set(points)), 0)

    def counted(point: str) -> Callable[[], None]:
        def hit() -> None:
            counts[point] += 1

        return hit

    with ExitStack() as stack:
        for point in counts:
            stack.enter_context(failpoints.armed(point, counted(point)))
        run()
    missed = [point for point in points if not (counts[point] or misses)]
    assert not missed, f"the operation never comes by {missed}"
    return [Moment(point, nth + 1) for point, hits in counts.items() for nth in range(hits)]


def check_kills(make: Callable[[], Scene], points: Collection[str] = ()) -> list[Moment]:
    """Raise AssertionError where a kill changes the end; the moments that were tried."""
    clean = make()
    tried = moments(clean.execute, points)
    for moment in tried:
        scene = make()
        assert _dies(scene.execute, moment), f"a second run does not come by {moment}"
        scene.lapse()
        # Once more at the same place, if the way leads there again.
        _dies(scene.execute, Moment(moment.point, 1))
        scene.lapse()
        scene.execute()
        _compare(scene, clean.end(), f"killed at {moment} and resumed")
    return tried


def check_cancels(
    make: Callable[[], Scene], points: Collection[str] = (), *, every: int = 1
) -> list[Moment]:
    """Raise AssertionError where cancelling leaves anything behind; the moments at which it was
    granted. Where it is refused, the operation can still be finished.

    The cancelling is killed as well, at each of its moments: that is thousands of runs for ten
    steps. Of these pairs of kills `every` fifth, say, is tried.
    """
    pairs = count()
    untouched, clean = make().end(), make()
    granted = []
    for moment in moments(clean.execute, points):
        scene = _killed(make, moment)
        try:
            inside = moments(scene.cancel, points, misses=True)
        except OperationRefusedError:
            scene.execute()
            _compare(scene, clean.end(), f"killed at {moment}, refused to be cancelled, resumed")
            continue
        _compare(scene, untouched, f"killed at {moment} and cancelled")
        granted.append(moment)
        for second in inside:
            if next(pairs) % every:
                continue
            scene = _killed(make, moment)
            _dies(scene.cancel, second)
            scene.lapse()
            scene.cancel()
            _compare(scene, untouched, f"killed at {moment}, and at {second} of its cancelling")
    return granted


def check_zombies(make: Callable[[], Scene], points: Collection[str] = ()) -> list[Moment]:
    """Raise AssertionError where a process that stood still, and was replaced meanwhile, changes
    the end when it wakes; the moments that were tried."""
    clean = make()
    tried = moments(clean.execute, points)
    for moment in tried:
        scene = make()

        def replaced(scene: Scene = scene) -> None:
            scene.lapse()
            scene.execute()

        # It may come to its end, where all that it had yet to do is done.
        with _at(moment, replaced), suppress(FencedError, OperationRefusedError):
            scene.execute()
        scene.lapse()
        _compare(scene, clean.end(), f"replaced at {moment}, and woken after the end")
        scene.execute()
        _compare(scene, clean.end(), f"replaced at {moment}, woken and resumed once more")
    return tried


class OperationScene:
    """A `Scene` of an operation on the in-memory broker: each process is an `Executor` of its own.

    `end` tells what the operation's world is like.
    """

    def __init__(
        self,
        kind: str,
        request: Request,
        *,
        kinds: Kinds,
        broker: FakeBroker,
        clock: ManualClock,
        end: Callable[[], object],
        application: str = "app",
    ) -> None:
        self._kinds = kinds
        self._broker = broker
        self._clock = clock
        self._end = end
        self._application = application
        self.id = self.executor().propose(kind, request).id

    def executor(self) -> Executor:
        """A new process."""
        return Executor(
            Config(application_id=self._application, bootstrap_servers="127.0.0.1:9"),
            FakeTable(self._broker, self._application),
            self._kinds,
            clock=self._clock,
            pulses=False,
        )

    def execute(self) -> None:
        _fine(self.executor().start(self.id), "done")

    def cancel(self) -> None:
        _fine(self.executor().cancel(self.id), "cancelled")

    def lapse(self) -> None:
        self._clock.advance(2 * LEASE_MS)

    def end(self) -> object:
        return self._end()


def _fine(record: OperationRecord, state: str) -> None:
    assert record.state == state, f"operation {record.id} is {record.state}: {record.trouble}"


def _killed(make: Callable[[], Scene], moment: Moment) -> Scene:
    scene = make()
    assert _dies(scene.execute, moment), f"a second run does not come by {moment}"
    scene.lapse()
    return scene


def _dies(run: Callable[[], None], moment: Moment) -> bool:
    def die() -> None:
        raise Killed(str(moment))

    try:
        with _at(moment, die):
            run()
    except Killed:
        return True
    return False


@contextmanager
def _at(moment: Moment, act: Callable[[], None]) -> Iterator[None]:
    """Have this done at a moment, once."""
    hits = count(1)

    def hit() -> None:
        if next(hits) == moment.nth:
            act()

    with failpoints.armed(moment.point, hit):
        yield


def _compare(scene: Scene, expected: object, how: str) -> None:
    found = scene.end()
    assert found == expected, f"{how}, the end is {found!r}, not {expected!r}"
