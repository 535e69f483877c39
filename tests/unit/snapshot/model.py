"""Every order of the backend calls of some actors, which are the real code.

One backend call at a time. What an actor does next depends on the answers it has had and on nothing
else, so it is run anew from its begin with the answers so far, up to the next call. A state is what
is stored and what each actor has heard; each is looked at once. An actor that is never run again
has been killed, so kills are in it as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from streamer.errors import SnapshotMissingError, StreamerError
from streamer.snapshot.remote.api import Backend, Content, Stored
from streamer.snapshot.repository import Repository
from tests.unit.snapshot.rig import HOUR_MS, repository

Answer = Any
Call = tuple[str, str, bytes]
History = tuple[Answer, ...]


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


class Model:
    """Explores all orders of some actors, from a world on. Worlds and histories go by numbers, so
    that a state is a handful of them."""

    def __init__(self, start: World, actors: dict[str, Actor]) -> None:
        self._actors = actors
        self._worlds = [start]
        self._world_numbers = {start: 0}
        self._effects: dict[tuple[int, Call], tuple[int, Answer]] = {}
        self._histories: list[History] = [()]
        self._history_numbers: dict[tuple[int, Answer], int] = {}
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

    def explore(self, check: Callable[[World, dict[str, object]], None]) -> None:
        """Call `check` once for each world and the actors that have ended in it."""
        names = tuple(self._actors)
        begin = (0, *(0 for _ in names))
        stack, seen = [begin], {begin}
        checked = set()
        while stack:
            state = stack.pop()
            self.states += 1
            ended = []
            for index, name in enumerate(names, 1):
                outcome = self._outcome(name, state[index])
                if outcome.call is None:
                    ended.append((name, state[index]))
                    continue
                world, answer = self._effect(state[0], outcome.call)
                heard = self._heard(state[index], answer)
                after = (world, *state[1:index], heard, *state[index + 1 :])
                if after not in seen:
                    seen.add(after)
                    stack.append(after)
            what = (state[0], *ended)
            if what not in checked:
                checked.add(what)
                results = {name: self._outcome(name, number).result for name, number in ended}
                check(self._worlds[state[0]], results)

    def _effect(self, world: int, call: Call) -> tuple[int, Answer]:
        if (world, call) not in self._effects:
            after, answer = self._worlds[world].apply(*call)
            number = self._world_numbers.setdefault(after, len(self._worlds))
            if number == len(self._worlds):
                self._worlds.append(after)
            self._effects[world, call] = (number, answer)
        return self._effects[world, call]

    def _heard(self, history: int, answer: Answer) -> int:
        number = self._history_numbers.setdefault((history, answer), len(self._histories))
        if number == len(self._histories):
            self._histories.append((*self._histories[history], answer))
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
