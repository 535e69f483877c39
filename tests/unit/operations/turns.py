"""Processes that take turns at each call to the table: in any order, and in the same one again."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence

from streamer.kafka.fake import FakeBroker, FakeProducer
from streamer.operations.fake import FakeClaim, FakeTable
from streamer.operations.ports import Effect, Rows
from streamer.record import Record

_STUCK_S = 20


class Turns:
    """Runs actors in threads of which one at a time goes on, from one `wait` to the next."""

    def __init__(self, lags: Sequence[int] = ()) -> None:
        self._lags = iter([*lags])
        self._numbers = itertools.count()
        self._actors: dict[int, threading.Semaphore] = {}
        self._back = threading.Semaphore(0)
        self._mine = threading.local()
        self._over: set[int] = set()
        self._failures: list[BaseException] = []

    def wait(self) -> None:
        """Let others go on first, perhaps."""
        mine = getattr(self._mine, "turn", None)
        if mine is not None:
            self._back.release()
            assert mine.acquire(timeout=_STUCK_S)

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
        threads = [
            threading.Thread(target=self._act, args=(number, actor), daemon=True)
            for number, actor in enumerate(actors)
        ]
        self._actors = {number: threading.Semaphore(0) for number in range(len(actors))}
        for thread in threads:
            thread.start()
        turn = 0
        while left := sorted(self._actors.keys() - self._over):
            wanted = choices[turn] if turn < len(choices) else turn
            between(turn)
            self._actors[left[wanted % len(left)]].release()
            assert self._back.acquire(timeout=_STUCK_S), "an actor is stuck"
            turn += 1
            assert turn < 5_000, "they never come to an end"
        if self._failures:
            raise self._failures[0]

    def _act(self, number: int, actor: Callable[[], None]) -> None:
        self._mine.turn = self._actors[number]
        assert self._mine.turn.acquire(timeout=_STUCK_S)
        try:
            actor()
        except BaseException as error:
            self._failures.append(error)
        finally:
            self._over.add(number)
            self._back.release()


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
