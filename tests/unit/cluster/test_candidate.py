"""One process, several members: who is the controller stays so while the next member begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamer.cluster import candidate
from streamer.cluster.candidate import Candidate
from streamer.config import Config
from streamer.control.identity import Listed
from streamer.errors import ConfigError, KafkaUnavailableError, StreamerError

ME = Listed("w1", "9f3c", "")
LIMIT_S = 60.0


class Elections:
    """Stands in for `Election`: who stands is elected at once, and out of it when it leaves."""

    def __init__(self) -> None:
        self.stood: list[Listed] = []
        self.left = 0
        self.trouble: list[StreamerError] = []

    def __call__(self, _config: Config, me: Listed, *, elect: Any, leaving: Any, **_: Any) -> Any:
        elections = self

        class One:
            def run(self) -> None:
                if elections.trouble:
                    raise elections.trouble.pop()
                elections.stood.append(me)
                elect(True)
                leaving.wait(LIMIT_S)
                elect(False)
                elections.left += 1

        return One()


class Heard:
    """What a member is told."""

    def __init__(self) -> None:
        self.outcomes: list[bool] = []
        self.failures: list[StreamerError] = []

    def serve(self, standing: Candidate) -> None:
        admin: Any = None
        standing.serve(ME, admin, elect=self.outcomes.append, fail=self.failures.append)


@pytest.fixture
def elections(monkeypatch: pytest.MonkeyPatch) -> Elections:
    made = Elections()
    monkeypatch.setattr(candidate, "Election", made)
    return made


@pytest.fixture
def standing(elections: Elections) -> Iterator[Candidate]:
    with Candidate(Config(application_id="spend")) as made:
        yield made


def wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_next_member_has_the_office_at_once(elections: Elections, standing: Candidate) -> None:
    first, second = Heard(), Heard()
    first.serve(standing)
    wait(lambda: first.outcomes == [True])
    standing.release()
    second.serve(standing)
    # By this very thread: it waits for no election.
    assert second.outcomes == [True]
    standing.close()
    assert (first.outcomes, second.outcomes) == ([True], [True, False])
    assert (len(elections.stood), elections.left) == (1, 1)


def test_a_process_of_which_nothing_begins_leaves_the_office_to_others(
    elections: Elections, standing: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, late = Heard(), Heard()
    first.serve(standing)
    wait(lambda: first.outcomes == [True])
    monkeypatch.setattr(candidate, "HELD_S", 0.01)
    standing.release()
    wait(lambda: elections.left == 1)
    late.serve(standing)
    wait(lambda: late.outcomes == [True])
    assert len(elections.stood) == 2


def test_whoever_was_served_in_time_stays(
    elections: Elections, standing: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Heard(), Heard()
    first.serve(standing)
    wait(lambda: first.outcomes == [True])
    monkeypatch.setattr(candidate, "HELD_S", LIMIT_S)
    standing.release()
    second.serve(standing)
    # As where the time was over at the very moment.
    standing._give_up()
    assert not standing._leaving.is_set()
    assert second.outcomes == [True]


def test_a_member_that_leaves_is_out_before_another_one_stands(
    elections: Elections, standing: Candidate
) -> None:
    first, second = Heard(), Heard()
    first.serve(standing)
    wait(lambda: first.outcomes == [True])
    standing.release(is_over=True)
    second.serve(standing)
    wait(lambda: second.outcomes == [True])
    assert (first.outcomes, elections.left) == ([True, False], 1)


def test_trouble_that_passes_is_tried_again_and_other_trouble_is_told(
    elections: Elections, standing: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate, "_AGAIN_S", 0.001)
    refused = ConfigError("no right to read the group")
    elections.trouble = [refused, KafkaUnavailableError("no coordinator")]
    heard = Heard()
    heard.serve(standing)
    wait(lambda: bool(heard.failures))
    assert (heard.failures, heard.outcomes) == ([refused], [])
    # The next member finds out by itself.
    heard.serve(standing)
    wait(lambda: heard.outcomes == [True])


def test_sessions_of_a_process_follow_each_other(standing: Candidate) -> None:
    assert [standing.succeed(each) for each in ("s1", "s2", "s3")] == ["", "s1", "s2"]
