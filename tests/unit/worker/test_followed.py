"""Nobody who follows another application goes further than that has committed."""

from __future__ import annotations

import threading

import pytest

from streamer.errors import ConfigError, KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.worker import followed
from streamer.worker.followed import Brake, Followed

A, B = TopicPartition("in", 0), TopicPartition("in", 1)


def test_what_is_not_committed_of_is_not_read_at_all() -> None:
    committed = {A: 5}
    one = Followed(lambda: committed, [A, B])
    assert one.limits() == {A: 0, B: 0}
    one.look()
    assert one.limits() == {A: 5, B: 0}
    committed |= {A: 3, B: 2}
    one.look()
    assert one.limits() == {A: 5, B: 2}, "what was done is not taken back"


def test_nobody_goes_further_than_a_stage_of_it_does() -> None:
    committed = {A: 5, B: 2}
    one = Followed(lambda: committed, [A, B], until={A: 4})
    one.look()
    assert one.limits() == {A: 4, B: 0}
    committed |= {A: 9}
    one.look()
    assert one.limits() == {A: 4, B: 0}


@pytest.mark.slow
def test_what_is_far_behind_is_told_by_the_live_one_and_not_by_the_stage() -> None:
    looked = threading.Event()
    live: list[object] = []
    brake = Brake(dict, dict, lag_max=0)
    brake.is_far = True

    def look(at: object) -> None:
        live.append(at)
        looked.set()

    brake.look = look  # type: ignore[method-assign]
    one = Followed(lambda: {A: 9}, [A], brake=brake, until={A: 4})
    one.start()
    assert looked.wait(30)
    one.close()
    assert live[0] == {A: 9}


@pytest.mark.slow
def test_brokers_that_are_away_are_waited_for_and_a_mistake_is_told() -> None:
    answers = iter(
        [KafkaUnavailableError("away", hint=""), {A: 4}, ConfigError("not granted", hint="")]
    )

    def ask() -> dict[TopicPartition, int]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    one = Followed(ask, [A])
    one.start()
    one._threads[0].join(30)
    with pytest.raises(ConfigError, match="not granted"):
        one.limits()
    assert one._limits == {A: 4}
    one.close()


@pytest.mark.slow
def test_whoever_follows_is_stopped_once_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_OVER_S", 0.01)
    over = threading.Event()
    stopping = threading.Event()
    one = Followed(dict, [A], is_over=over.is_set, ended=stopping.set)
    one.start()
    assert not stopping.wait(1)
    over.set()
    assert stopping.wait(30)
    one.close()
    assert not any(each.is_alive() for each in one._threads)


def test_trouble_with_that_question_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_OVER_S", 0.01)
    answers = iter([OSError("strange"), KafkaUnavailableError("away", hint=""), True])

    def is_over() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    stopping = threading.Event()
    one = Followed(dict, [A], is_over=is_over, ended=stopping.set)
    one.start()
    assert stopping.wait(30)
    one.close()


def test_while_the_live_one_is_far_behind_its_input_nothing_is_read_again() -> None:
    ends, live, own = {A: 3_000_000, B: 0}, {A: 1_500_000, B: 0}, {A: 0}
    brake = Brake(lambda: ends, lambda: own, lag_max=1_000_000)
    one = Followed(lambda: live, [A, B], brake=brake)
    one.look()
    brake.look(one._limits)
    assert one.limits() == {A: 0, B: 0}
    live = {A: 2_400_000, B: 0}
    one.look()
    brake.look(one._limits)
    assert one.limits() == {A: 0, B: 0}, "until it is half of that"
    live = {A: 2_600_000, B: 0}
    one.look()
    brake.look(one._limits)
    assert one.limits() == {A: 2_600_000, B: 0}


def test_near_the_live_one_nothing_brakes_and_without_a_limit_never() -> None:
    ends, live = {A: 9_000_000}, {A: 1_000_000}
    for lag_max, own in ((1_000_000, {A: 950_000}), (0, {A: 0})):
        brake = Brake(lambda: ends, lambda own=own: own, lag_max=lag_max)  # type: ignore[misc]
        brake.look(live)
        assert not brake.is_on


def test_who_is_far_behind_collects_for_longer() -> None:
    live, own = {A: 500_000}, {A: 100_000}
    brake = Brake(lambda: live, lambda: own, lag_max=0)
    one = Followed(lambda: live, [A], brake=brake)
    assert one.commit_ms(100, 60_000) == 100, "not known yet"
    brake.look(live)
    assert one.commit_ms(100, 60_000) == 10_000
    assert one.commit_ms(100, 8_000) == 2_000
    assert one.commit_ms(20_000, 60_000) == 20_000
    own = {A: 450_000}
    brake.look(live)
    assert one.commit_ms(100, 60_000) == 100
    assert Followed(dict, [A]).commit_ms(100, 60_000) == 100
