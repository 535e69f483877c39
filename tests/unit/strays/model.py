"""Every order in which producers, readers that forward, and tasks can take their steps.

A topic was given more partitions. Each key is written one record after the other: the next is sent
when the one before it was acknowledged, to whichever partition its producer believes in. The rule
under test is the code itself, `Wait`: the model only asks its questions, and has other answers
given where a rule is shown to be wrong.

A transaction has three steps: it writes, it is decided (from there on it is acknowledged, and the
positions in it are seen), and its marker arrives, which makes its records visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, NamedTuple, TypeVar

from streamer.strays.wait import Wait

__all__ = ["Found", "Rule", "Scene", "explore"]

End = Literal["high", "stable"]
_OPEN, _DECIDED, _VISIBLE, _ABORTED = range(4)
T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """Which ends are asked for, and whether forwarding has a position of its own."""

    ends: End = "high"
    strays: End = "high"
    is_ahead: bool = True


@dataclass(frozen=True)
class Scene:
    """`writes`: to which partition each record of a key goes, in their order. `homes`: where a key
    belongs. `transactional` keys are written in transactions, others are visible at once. So many
    `aborts` of transactions that forward may come, at any time."""

    writes: Mapping[str, Sequence[int]]
    homes: Mapping[str, int]
    transactional: frozenset[str] = frozenset()
    partitions: int = 2
    aborts: int = 0


class Entry(NamedTuple):
    key: str
    number: int
    state: int


class Reader(NamedTuple):
    """Who forwards from a partition. `open_to` is the position that an open transaction holds."""

    position: int = 0
    open_to: int | None = None
    state: int = _VISIBLE


class Task(NamedTuple):
    """`held_to` is up to where it has fetched its own partition, None where it holds nothing."""

    position: int = 0
    strays: int = 0
    held_to: int | None = None
    wait: Wait = Wait()


class State(NamedTuple):
    written: tuple[int, ...]
    logs: tuple[tuple[Entry, ...], ...]
    strays: tuple[tuple[Entry, ...], ...]
    readers: tuple[Reader, ...]
    tasks: tuple[Task, ...]
    processed: tuple[tuple[int, ...], ...]
    aborts: int


@dataclass
class Found:
    """`reordered` and `stuck` are the states in which a key's order is broken, or nothing can be
    done though not all is."""

    states: int = 0
    ends: int = 0
    reordered: list[State] = field(default_factory=list)
    stuck: list[State] = field(default_factory=list)


def explore(scene: Scene, rule: Rule | None = None) -> Found:
    """Visit every state that can be reached, up to the first in which something is wrong."""
    model = _Model(scene, rule or Rule())
    found = Found()
    seen = {model.first()}
    waiting = list(seen)
    while waiting and not found.reordered and not found.stuck:
        state = waiting.pop()
        if model.is_reordered(state):
            found.reordered.append(state)
            break
        steps = list(model.steps(state))
        if not steps:
            found.ends += 1
            if not model.is_done(state):
                found.stuck.append(state)
        fresh = set(steps) - seen
        seen |= fresh
        waiting.extend(fresh)
    found.states = len(seen)
    return found


class _Model:
    def __init__(self, scene: Scene, rule: Rule) -> None:
        self._scene = scene
        self._rule = rule
        self._keys = sorted(scene.writes)

    def first(self) -> State:
        count, keys = self._scene.partitions, len(self._keys)
        nothing: tuple[tuple[Entry, ...], ...] = ((),) * count
        return State(
            written=(0,) * keys,
            logs=nothing,
            strays=nothing,
            readers=(Reader(),) * count,
            tasks=(Task(),) * count,
            processed=((),) * keys,
            aborts=self._scene.aborts,
        )

    def is_reordered(self, state: State) -> bool:
        return any(list(one) != list(range(len(one))) for one in state.processed)

    def is_done(self, state: State) -> bool:
        wanted = [len(self._scene.writes[key]) for key in self._keys]
        return [len(one) for one in state.processed] == wanted

    def steps(self, state: State) -> Iterator[State]:
        places = range(self._scene.partitions)
        return chain(
            self._produce(state),
            chain.from_iterable(self._markers(state, place) for place in places),
            chain.from_iterable(self._forward(state, place) for place in places),
            chain.from_iterable(self._task(state, place) for place in places),
        )

    # -- producers -----------------------------------------------------------------------------

    def _produce(self, state: State) -> Iterator[State]:
        for index, key in enumerate(self._keys):
            writes, number = self._scene.writes[key], state.written[index]
            place = writes[number - 1] if number else 0
            last = _find(state.logs[place], key, number - 1) if number else None
            if last is not None and state.logs[place][last].state == _OPEN:
                yield _marked(state, place, last, _DECIDED)
            elif number < len(writes):
                new = Entry(key, number, _OPEN if key in self._scene.transactional else _VISIBLE)
                logs = _put(state.logs, writes[number], (*state.logs[writes[number]], new))
                written = _put(state.written, index, number + 1)
                yield state._replace(written=written, logs=logs)

    def _markers(self, state: State, place: int) -> Iterator[State]:
        for row, entry in enumerate(state.logs[place]):
            if entry.state == _DECIDED:
                yield _marked(state, place, row, _VISIBLE)

    # -- who forwards --------------------------------------------------------------------------

    def _forward(self, state: State, place: int) -> Iterator[State]:
        reader = state.readers[place]
        if reader.state == _OPEN:
            assert reader.open_to is not None
            yield self._read(state, place, Reader(reader.open_to, reader.open_to, _DECIDED))
            if state.aborts:
                back = self._read(state, place, Reader(reader.position))
                yield _settled(back._replace(aborts=state.aborts - 1), place, _ABORTED)
        elif reader.state == _DECIDED:
            yield _settled(self._read(state, place, Reader(reader.position)), place, _VISIBLE)
        elif self._rule.is_ahead:
            end = _stable(state.logs[place])
            if end > reader.position:
                yield self._sent(state, place, end)

    def _sent(self, state: State, place: int, end: int) -> State:
        """In an open transaction: strays, and the position behind them."""
        start = state.readers[place].position
        strays = list(state.strays)
        for key, number, _state in state.logs[place][start:end]:
            home = self._scene.homes[key]
            if home != place:
                # The number of the reader tells whose marker makes it visible.
                strays[home] = (*strays[home], Entry(key, number, -1 - place))
        state = state._replace(strays=tuple(strays))
        return self._read(state, place, Reader(start, end, _OPEN))

    @staticmethod
    def _read(state: State, place: int, reader: Reader) -> State:
        return state._replace(readers=_put(state.readers, place, reader))

    # -- tasks ---------------------------------------------------------------------------------

    def _task(self, state: State, place: int) -> Iterator[State]:
        task, own = state.tasks[place], state.strays[place]
        if task.strays < _stable(own):
            entry = own[task.strays]
            moved = _put(state.tasks, place, task._replace(strays=task.strays + 1))
            taken = [entry] if entry.state == _VISIBLE else []
            yield self._done(state._replace(tasks=moved), taken)
        if task.held_to is None:
            end = _stable(state.logs[place])
            if end > task.position:
                held = task._replace(held_to=end, wait=Wait())
                yield state._replace(tasks=_put(state.tasks, place, held))
        elif task.wait.asks is not None:
            answered = self._answered(state, place, task.wait)
            if answered != task.wait:
                asked = _put(state.tasks, place, task._replace(wait=answered))
                yield state._replace(tasks=asked)
        elif task.wait.is_over(task.strays):
            yield from self._pass(state, place)

    def _answered(self, state: State, place: int, wait: Wait) -> Wait:
        others = [one for one in range(self._scene.partitions) if one != place]
        if wait.asks == "ends":
            return wait.saw_ends({one: _end(state.logs[one], self._rule.ends) for one in others})
        if wait.asks == "forwarded":
            return wait.saw_forwarded({one: state.readers[one].position for one in others})
        return wait.saw_strays_end(_end(state.strays[place], self._rule.strays))

    def _pass(self, state: State, place: int) -> Iterator[State]:
        """The wait is over: what is held is processed."""
        task = state.tasks[place]
        assert task.held_to is not None
        if not self._rule.is_ahead:
            if state.readers[place].state != _VISIBLE:
                return
            state = self._sent(state, place, task.held_to)
        held = state.logs[place][task.position : task.held_to]
        own = [one for one in held if self._scene.homes[one.key] == place]
        passed = Task(task.held_to, task.strays)
        yield self._done(state._replace(tasks=_put(state.tasks, place, passed)), own)

    def _done(self, state: State, entries: Sequence[Entry]) -> State:
        processed = state.processed
        for key, number, _state in entries:
            index = self._keys.index(key)
            processed = _put(processed, index, (*processed[index], number))
        return state._replace(processed=processed)


def _stable(log: Sequence[Entry]) -> int:
    """The last stable offset: nothing below it waits for a marker."""
    return next((row for row, one in enumerate(log) if one.state < _VISIBLE), len(log))


def _end(log: Sequence[Entry], kind: End) -> int:
    return len(log) if kind == "high" else _stable(log)


def _find(log: Sequence[Entry], key: str, number: int) -> int:
    return next(row for row, one in enumerate(log) if (one.key, one.number) == (key, number))


def _marked(state: State, place: int, row: int, to: int) -> State:
    log = state.logs[place]
    return state._replace(logs=_put(state.logs, place, _put(log, row, log[row]._replace(state=to))))


def _settled(state: State, reader: int, end: int) -> State:
    """The markers of a transaction that forwarded have arrived."""
    strays = tuple(
        tuple(one._replace(state=end) if one.state == -1 - reader else one for one in log)
        for log in state.strays
    )
    return state._replace(strays=strays)


def _put(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    return (*items[:place], item, *items[place + 1 :])
