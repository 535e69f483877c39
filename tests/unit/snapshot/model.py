"""Every order of the backend calls of some actors, which are the real code.

One backend call at a time. What an actor does next depends on the answers it has had and on nothing
else, so it is run anew from its begin with the answers so far, up to the next call. A state is what
is stored and what each actor has heard; each is looked at once. An actor that is never run again
has been killed, so kills are in it as well.

With four actors there are too many orders. Many differ in nothing: neither of two calls notices
the other. So where only ends matter, some actors wait: of those at work one set is enough to go on
with, if what the others can still do matters to none of its next calls (persistent sets, as in
partial order reduction). What they can still do is learnt from what they were seen to do, and a
state is looked at again when more of it is known. What happens at a kill is in it: to whom has
ended already it makes no difference whether the others go on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple
from unittest.mock import patch

from streamer.errors import SnapshotMissingError, StreamerError
from streamer.snapshot.manifest import decode
from streamer.snapshot.remote.api import Backend, Content, Stored
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import VOID
from tests.unit.snapshot.rig import HOUR_MS, repository


class What(NamedTuple):
    """What a call looks at or writes: a key, or with a list all that begin with it."""

    place: str
    is_look: bool
    is_list: bool


Answer = Any
Call = tuple[str, str, bytes]
History = tuple[Answer, ...]
# A world, and what each actor has heard, all by their numbers.
State = tuple[int, ...]


class Paused(BaseException):
    """The actor has come to a call whose answer it does not have yet."""

    def __init__(self, call: str, key: str, content: bytes) -> None:
        super().__init__(call, key)
        self.call = (call, key, content)


class ReplayBackend(Backend):
    """Answers from a history; the call behind its end pauses the actor."""

    address = "memory://model"

    def __init__(self, history: History) -> None:
        self._answers = iter(history)
        self._paused: Paused | None = None

    def _ask(self, call: str, key: str, content: bytes = b"") -> Answer:
        if self._paused is not None:
            # On the way out of it something is cleared up; that has not come to pass yet.
            raise self._paused
        try:
            answer = next(self._answers)
        except StopIteration:
            self._paused = Paused(call, key, content)
            raise self._paused from None
        if isinstance(answer, StreamerError):
            raise answer
        return answer

    def put(self, key: str, content: Content, *, size: int) -> bool:
        return bool(self._ask("put", key, b"".join(content())))

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        raw = self._ask("read", key)
        if raw is None:
            raise SnapshotMissingError(f"there is no {key}")
        yield raw[start:] if length is None else raw[start : start + length]

    def stat(self, key: str) -> Stored | None:
        found = self._ask("stat", key)
        assert found is None or isinstance(found, Stored)
        return found

    def list(self, prefix: str) -> Iterator[Stored]:
        return iter(self._ask("list", prefix))

    def delete(self, key: str) -> None:
        self._ask("delete", key)

    def unfinished(self) -> Iterator[Stored]:
        return iter(())

    def discard(self, key: str) -> None:
        return

    def close(self) -> None:
        return


@dataclass(frozen=True)
class World:
    """What is stored, and the repository's time."""

    objects: frozenset[tuple[str, bytes, int]]
    now_ms: int

    LOOKS: ClassVar[frozenset[str]] = frozenset({"read", "stat", "list"})

    @staticmethod
    def place(call: str, key: str) -> str:
        """What a call looks at or writes, where that is no object."""
        return key

    def apply(self, call: str, key: str, content: bytes) -> tuple[World, Answer]:
        there = {name: (raw, at) for name, raw, at in self.objects}
        if call == "put":
            if key in there:
                return self, False
            return replace(self, objects=self.objects | {(key, content, self.now_ms)}), True
        if call == "delete":
            kept = frozenset(each for each in self.objects if each[0] != key)
            return replace(self, objects=kept), None
        if call == "read":
            return self, there[key][0] if key in there else None
        if call == "stat":
            return self, Stored(key, len(there[key][0]), there[key][1]) if key in there else None
        if call == "tick":
            return replace(self, now_ms=self.now_ms + HOUR_MS), None
        found = [
            Stored(name, len(raw), at) for name, (raw, at) in there.items() if name.startswith(key)
        ]
        return self, tuple(sorted(found))

    def read(self, part: str) -> dict[str, bytes]:
        return {name: raw for name, raw, _at in self.objects if part in name}


Actor = Callable[[Repository], object]


@dataclass(frozen=True)
class Outcome:
    """Where an actor stands: its next call, or how it ended."""

    call: Call | None
    result: object = None


def _matters(one: What, other: What) -> bool:
    """Whether the order of two calls does."""
    if one.is_look and other.is_look:
        return False
    if one.is_list:
        return other.place.startswith(one.place)
    return one.place.startswith(other.place) if other.is_list else one.place == other.place


def _closed(first: set[int], meeting: Mapping[int, set[int]]) -> set[int]:
    """These, and all that one of them meets."""
    found = set(first)
    while not all(meeting[one] <= found for one in found):
        found = found.union(*(meeting[one] for one in found))
    return found


class Model:
    """Explores all orders of some actors, from a world on. Worlds and histories go by numbers, so
    that a state is a handful of them."""

    def __init__(self, start: World, actors: dict[str, Actor]) -> None:
        self._actors = actors
        self._worlds = [start]
        self._world_numbers = {start: 0}
        self._answers: list[Answer] = []
        self._answer_numbers: dict[Answer, int] = {}
        self._effects: dict[tuple[int, Call], tuple[int, int]] = {}
        self._histories: list[History] = [()]
        self._parents = [0]
        # What an actor was seen to do from a history on, and whether that matters to a call.
        self._futures: dict[tuple[int, int], set[What]] = {}
        self._met: dict[tuple[int, int], dict[What, bool]] = {}
        self._grown: set[tuple[int, int]] = set()
        self._whats: dict[Call, What] = {}
        self._history_numbers: dict[tuple[int, int], int] = {}
        self._outcomes: dict[tuple[str, int], Outcome] = {}
        self.states = 0

    def until_delete(self, name: str, part: str) -> tuple[World, str]:
        """Let one actor go on alone: the world before a delete, and what is deleted there."""
        world, history = 0, 0
        while (call := self._outcome(name, history).call) is not None:
            if call[0] == "delete" and part in call[1]:
                return self._worlds[world], call[1]
            world, answer = self._effect(world, call)
            history = self._heard(history, answer)
        raise AssertionError(f"{name} deletes no {part}")

    def explore(
        self, check: Callable[[World, dict[str, object]], None], *, all_worlds: bool = True
    ) -> None:
        """Call `check` once for each world and the actors that have ended in it. Without
        `all_worlds` for each way in which an actor can end, and for all worlds in the end."""
        begin = (0, *(0 for _ in self._actors))
        stack, seen = [begin], {begin}
        # Of which actors one was next, where it need not have been each.
        chosen: dict[State, set[int]] = {}
        checked: set[object] = set()
        while stack:
            self._grown.clear()
            while stack:
                state = stack.pop()
                calls, ended = self._standing(state)
                self._check(check, state, ended, checked)
                nexts: Collection[int] = calls
                if not all_worlds and calls:
                    nexts = chosen[state] = self._enough(state, calls)
                stack += self._afters(state, calls, nexts, seen)
            for state, before in chosen.items():
                if not self._grown.isdisjoint(enumerate(state)):
                    calls, _ended = self._standing(state)
                    chosen[state] = now = _closed(before, self._meeting(state, calls))
                    stack += self._afters(state, calls, now - before, seen)
        self.states = len(seen)

    def _standing(self, state: State) -> tuple[dict[int, Call], list[tuple[str, int]]]:
        """The next calls, and who has ended."""
        calls, ended = {}, []
        for index, name in enumerate(self._actors, 1):
            outcome = self._outcome(name, state[index])
            if outcome.call is None:
                ended.append((name, state[index]))
            else:
                calls[index] = outcome.call
        return calls, ended

    def _afters(
        self, state: State, calls: dict[int, Call], nexts: Iterable[int], seen: set[State]
    ) -> Iterator[State]:
        """The states that were not seen yet behind one call each."""
        for index in nexts:
            world, answer = self._effect(state[0], calls[index])
            heard = self._heard(state[index], answer)
            after = (world, *state[1:index], heard, *state[index + 1 :])
            if after not in seen:
                seen.add(after)
                yield after

    def _check(
        self,
        check: Callable[[World, dict[str, object]], None],
        state: State,
        ended: list[tuple[str, int]],
        checked: set[object],
    ) -> None:
        what = (state[0], *ended)
        if what not in checked:
            checked.add(what)
            results = {name: self._outcome(name, number).result for name, number in ended}
            check(self._worlds[state[0]], results)

    def _enough(self, state: State, calls: dict[int, Call]) -> set[int]:
        """Actors of which one has to be next, since what the others can do until then matters to
        none of these calls: the smallest such set."""
        for index, call in calls.items():
            self._learn(index, state[index], self._what(call))
        meeting = self._meeting(state, calls)
        found = set(calls)
        for index in calls:
            if len(found) > 1:
                found = min(found, _closed({index}, meeting), key=len)
        return found

    def _meeting(self, state: State, calls: dict[int, Call]) -> dict[int, set[int]]:
        """Of each actor's next call those to whom it matters, whatever they have done before."""
        known = [(other, self._met.setdefault((other, state[other]), {})) for other in calls]
        meeting = {}
        for index, call in calls.items():
            what, meeting[index] = self._what(call), set[int]()
            for other, met in known:
                if what not in met:
                    ahead = self._futures.get((other, state[other]), ())
                    met[what] = any(_matters(own, what) for own in ahead)
                if met[what]:
                    meeting[index].add(other)
        return meeting

    def _learn(self, index: int, history: int, what: What) -> None:
        """It is the next call; so it lies ahead for all histories before this one."""
        while what not in (ahead := self._futures.setdefault((index, history), set())):
            ahead.add(what)
            self._grown.add((index, history))
            self._met.pop((index, history), None)
            history = self._parents[history]

    def _what(self, call: Call) -> What:
        if call not in self._whats:
            name, key, _content = call
            place, is_look = self._worlds[0].place(name, key), name in self._worlds[0].LOOKS
            self._whats[call] = What(place, is_look, name == "list")
        return self._whats[call]

    def _effect(self, world: int, call: Call) -> tuple[int, int]:
        """The number of the world after a call, and that of the answer."""
        if (world, call) not in self._effects:
            after, answer = self._worlds[world].apply(*call)
            number = self._world_numbers.setdefault(after, len(self._worlds))
            if number == len(self._worlds):
                self._worlds.append(after)
            heard = self._answer_numbers.setdefault(answer, len(self._answers))
            if heard == len(self._answers):
                self._answers.append(answer)
            self._effects[world, call] = (number, heard)
        return self._effects[world, call]

    def _heard(self, history: int, answer: int) -> int:
        number = self._history_numbers.setdefault((history, answer), len(self._histories))
        if number == len(self._histories):
            self._histories.append((*self._histories[history], self._answers[answer]))
            self._parents.append(history)
        return number

    def _outcome(self, name: str, history: int) -> Outcome:
        if (name, history) not in self._outcomes:
            self._outcomes[name, history] = self._run(name, self._histories[history])
        return self._outcomes[name, history]

    def _run(self, name: str, history: History) -> Outcome:
        counter = itertools.count(1)
        owner = sum(name.encode())

        def token(_bytes: int) -> str:
            return f"{owner:08x}{next(counter):024x}"

        with patch("secrets.token_hex", token):
            try:
                place = repository(ReplayBackend(history))
                # Whether the place is fit has been tried, as it is for every actor.
                place._is_fit = True
                result = self._actors[name](place)
            except Paused as paused:
                return Outcome(paused.call)
            except StreamerError as error:
                return Outcome(None, error)
        return Outcome(None, result)


def every_snapshot_is_whole(world: World) -> None:
    """What can be restored has all its files; what is condemned is restored by nobody."""
    condemned = {key.rpartition("/")[2] for key in world.read("condemned/snapshot/")}
    sizes = {key.rpartition("/")[2]: len(raw) for key, raw in world.read("/objects/").items()}
    whole = 0
    for key, raw in world.read("/snapshots/").items():
        if raw == VOID or key.rpartition("/")[2] in condemned:
            continue
        manifest = decode(raw, key)
        for name, size in manifest.objects.items():
            assert sizes.get(name) == size, f"{manifest} lacks {name}"
        whole += 1
    assert whole, "no snapshot is left"
