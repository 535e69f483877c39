"""A record whose key a declared partitioner does not place is as one that cannot be decoded."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.engine.policy import Failure, Policy
from streamer.errors import ProcessingError
from streamer.record import RawBatch

ERROR = ProcessingError("the declared partitioner raised KeyError", hint="it must know every key")


def batch() -> RawBatch:
    keys = [b"known", b"unknown"]
    return RawBatch("in", 3, keys, [b"1", b"2"], timestamps=[5, 6], offsets=[70, 71])


def test_it_stops_its_task_with_its_address() -> None:
    with pytest.raises(ProcessingError, match="placing its key") as stopped:
        Policy(task="0_3").lost(batch(), 1, ERROR)
    problem = stopped.value
    assert (problem.topic, problem.partition, problem.offset) == ("in", 3, 71)
    assert problem.key == b"unknown"
    assert "deserialization_error" in problem.hint


@pytest.mark.parametrize("action", ["skip", "dead_letter"])
def test_or_is_left_out_or_put_aside(action: str) -> None:
    letters: list[tuple[Any, ...]] = []
    counted: list[Failure] = []
    policy = Policy(
        task="0_3",
        deserialization=action,
        dead_letter=lambda *given: letters.append(given),
        count=counted.append,
    )
    policy.lost(batch(), 1, ERROR)
    assert [one.action for one in counted] == [action]
    assert [letter[0] for letter in letters] == ([b"unknown"] if action == "dead_letter" else [])
