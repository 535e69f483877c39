"""What is said and moved while somebody looks on."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from demo import moving
from demo.moving import Moved, MoveError
from demo.scenario import INPUT, Scenario


class Ending:
    """It says its last word, and ends, between any two looks at it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.moved: list[Moved] = []
        self._failure = failure
        self._looks = 0

    @property
    def is_over(self) -> bool:
        self._end()
        return self._looks > 1

    def heard(self) -> Iterator[str]:
        self._end()
        yield from ["the last word"] if self._looks == 2 else []

    def check(self) -> None:
        if self._failure:
            raise self._failure

    def _end(self) -> None:
        self._looks += 1
        if self._looks == 2:
            self.moved = [Moved(3, 1.0)]


def looker() -> Any:
    said: list[str] = []
    screen = SimpleNamespace(say=said.append)
    return SimpleNamespace(_screen=screen, said=said, _tasks=6, _topics=SimpleNamespace(widths={}))


def look_on(here: Any, ending: Any) -> None:
    while not Scenario._hears(here, ending):
        pass


def test_the_last_word_is_heard_and_the_last_move_is_known() -> None:
    here, ending = looker(), Ending()
    look_on(here, ending)
    assert here.said == ["the last word"]
    assert here._tasks == 3
    assert here._topics.widths == {INPUT: 6}


def test_what_it_failed_with_comes_behind_what_it_said() -> None:
    here, ending = looker(), Ending(MoveError("not done"))
    with pytest.raises(MoveError):
        look_on(here, ending)
    assert here.said == ["the last word"]


def test_a_command_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_RUN_S", 0.01)
    with pytest.raises(MoveError, match="streamer repartition plan was not done after"):
        moving._run("plan", "--help")
