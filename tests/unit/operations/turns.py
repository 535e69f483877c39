"""Processes that take turns at each call to the table: in any order, and in the same one again."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence

from streamer.kafka.fake import FakeBroker, FakeProducer
from streamer.operations.fake import FakeClaim, FakeTable
from streamer.operations.ports import Effect, Rows
from streamer.record import Record

_STUCK_S = 60
_TURNS_MAX = 5_000


class Turns:
    """Runs actors in threads of which one at a time goes on, from one `wait` to the next.

    Whose turn is over chooses the next one and wakes it, itself included. The locks are those of
    the interpreter, since the orders of a thousand worlds are millions of turns.
    """

    def __init__(self, lags: Sequence[int] = ()) -> None:
        self._lags = iter([*lags])
        self._numbers = itertools.count()
        self._mine = threading.local()
        self._wakes: dict[int, threading.Lock] = {}
        self._left: list[int] = []
        self._choices: Sequence[int] = ()
        self._between: Callable[[int], None] = lambda _turn: None
        self._turn = 0
        self._failures: list[BaseException] = []

    def wait(self) -> None:
        """Let others go on first, perhaps."""
        mine = getattr(self._mine, "number", None)
        if mine is not None and (after := self._next()) != mine:
            self._wakes[after].release()
            assert self._wakes[mine].acquire(timeout=_STUCK_S), "another actor is stuck"

    def number(self) -> int:
        """Another one for each process."""
        return next(self._numbers)

    def lag(self) -> int:
        """How many transactions a look is behind."""
        return next(self._lags, 0)

    def run(
        self,
        actors: Sequence[Callable[[], None]],
        choices: Sequence[int],
        *,
        between: Callable[[int], None],
    ) -> None:
        """`choices` says whose turn it is, for as long as it lasts; then it goes round."""
        self._choices, self._between, self._turn = choices, between, 0
        self._left = list(range(len(actors)))
        self._wakes = {number: _held() for number in self._left}
        threads = [
            threading.Thread(target=self._act, args=(number, actor), daemon=True)
            for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        self._wakes[self._next()].release()
        for thread in threads:
            thread.join(_STUCK_S * len(threads))
            assert not thread.is_alive(), "an actor is stuck"
        if self._failures:
            raise self._failures[0]

    def _next(self) -> int:
        turn = self._turn
        assert turn < _TURNS_MAX, "they never come to an end"
        self._turn += 1
        wanted = self._choices[turn] if turn < len(self._choices) else turn
        self._between(turn)
        return self._left[wanted % len(self._left)]

    def _act(self, number: int, actor: Callable[[], None]) -> None:
        self._mine.number = number
        assert self._wakes[number].acquire(timeout=_STUCK_S)
        try:
            actor()
        except BaseException as error:
            self._failures.append(error)
        self._left.remove(number)
        if self._left:
            try:
                after = self._next()
            except BaseException as error:
                self._failures.append(error)
                after = self._left[0]
            self._wakes[after].release()


def _held() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


class TurnTable(FakeTable):
    """A table at which each call waits for its turn. As with Kafka, a look that does not ask for
    the end may miss what was just committed, since markers are written after a commit is told."""

    def __init__(self, broker: FakeBroker, application: str, turns: Turns) -> None:
        super().__init__(broker, application)
        self._turns = turns
        self._seen = 0
        self._number = turns.number()

    def records(self, *, to_end: bool) -> Sequence[Record]:
        found = super().records(to_end=to_end)
        # A transaction ends with the row of its lock; the other rows stand alone.
        ends = [0] + [
            number
            for number, record in enumerate(found, 1)
            if (record.key or b"").startswith((b"lock/", b"plan/", b"cancel/"))
        ]
        lag = 0 if to_end else self._turns.lag()
        # No reader goes back.
        self._seen = max(self._seen, ends[max(len(ends) - 1 - lag, 0)])
        return found[: self._seen]

    def read(self, *, to_end: bool) -> Mapping[str, bytes]:
        self._turns.wait()
        return super().read(to_end=to_end)

    def claim(self, scope: str) -> FakeClaim:
        self._turns.wait()
        return TurnClaim(super().claim(scope), self._turns)

    def pause(self) -> None:
        for _ in range(3 * self._number):
            self._turns.wait()

    def put(self, key: str, value: bytes | None) -> None:
        self._turns.wait()
        super().put(key, value)


class TurnClaim(FakeClaim):
    """Waits before a transaction and in the middle of it."""

    def __init__(self, claim: FakeClaim, turns: Turns) -> None:
        self._producer: FakeProducer = _Waiting(claim._producer, turns)  # type: ignore[assignment]
        self._place = claim._place

    def write(self, rows: Rows, effects: Sequence[Effect] = ()) -> None:
        super().write(rows, effects)


class _Waiting:
    def __init__(self, producer: FakeProducer, turns: Turns) -> None:
        self._producer = producer
        self._turns = turns

    def send(self, *arguments: object, **named: object) -> None:
        self._turns.wait()
        self._producer.send(*arguments, **named)  # type: ignore[arg-type]

    def commit(self, *arguments: object) -> None:
        self._turns.wait()
        self._producer.commit(*arguments)  # type: ignore[arg-type]

    def close(self) -> None:
        self._producer.close()
