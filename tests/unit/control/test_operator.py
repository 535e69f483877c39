"""What is asked of the controller once stays asked once; who stops the moves has the last word."""

from __future__ import annotations

import pytest

from streamer.control.operator import Proposed
from streamer.control.requests import (
    DrainRecord,
    ProposeRecord,
    RebalanceRecord,
    encode,
    key_of,
)
from streamer.errors import InternalTopicError, KafkaUnavailableError, OperationRefusedError
from tests.unit.control.desk import Desk


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def proposed(desk: Desk) -> Proposed:
    made = desk.operator().propose(timeout_s=5)
    return Proposed(made.id, made.number, made.at_ms)


def test_a_request_is_made_once_by_all_tries(desk: Desk) -> None:
    shown = proposed(desk)
    for _ in range(3):
        desk.operator().apply_once(shown, timeout_s=5, number="mine")
    assert [one.number for one in desk.asked()] == ["mine"]
    assert desk.operator().asked_ms("mine") == desk.asked()[0].at_ms
    assert desk.operator().asked_ms("another") == 0


def test_a_try_that_is_killed_after_it_has_asked_is_gone_on_with(desk: Desk) -> None:
    shown = proposed(desk)
    desk.dies_after_writing = True
    with pytest.raises(SystemExit):
        desk.operator().apply_once(shown, timeout_s=5, number="mine")
    # No controller has seen it yet: the next try waits for one, and asks for nothing again.
    with pytest.raises(KafkaUnavailableError, match="no controller of app has answered"):
        desk.operator().apply_once(shown, timeout_s=0.1, number="mine")
    [row] = [row for row in desk.rows if row.key == key_of(RebalanceRecord)]
    assert row.value is not None
    desk.answer(row.key, row.value)
    desk.operator().apply_once(shown, timeout_s=5, number="mine")
    assert len(desk.asked()) == 1
    assert desk.adopted == ["p1"]


@pytest.mark.parametrize("is_asked", [True, False])
@pytest.mark.parametrize("is_proposed_again", [True, False])
def test_a_stop_is_not_undone_by_a_later_try(
    desk: Desk, is_asked: bool, is_proposed_again: bool
) -> None:
    shown = proposed(desk)
    if is_asked:
        desk.operator().apply_once(shown, timeout_s=5, number="mine")
    desk.operator().stop(timeout_s=5)
    if is_proposed_again:
        # Somebody looks what would be moved: it is the same, and has the same id.
        assert proposed(desk).id == shown.id
    with pytest.raises(OperationRefusedError, match="had every task stay where it is since p1"):
        desk.operator().apply_once(shown, timeout_s=5, number="mine")
    assert desk.adopted[-1] == "stopped"
    assert desk.operator().stopped_by(shown)


def test_a_stop_of_before_the_proposal_does_not_count(desk: Desk) -> None:
    desk.operator().stop(timeout_s=5)
    # A clock of another host may be behind: the order in the topic tells.
    shown = proposed(desk)._replace(at_ms=0)
    desk.operator().apply_once(shown, timeout_s=5, number="mine")
    assert desk.adopted == ["stopped", "p1"]
    assert desk.operator().stopped_by(shown) == ""


def test_a_drain_that_cannot_be_read_is_over_once_another_one_was_asked_for(desk: Desk) -> None:
    desk.put(key_of(DrainRecord), b'{"format":99}')
    with pytest.raises(InternalTopicError, match="format version 99"):
        desk.operator().draining()
    desk.put(key_of(DrainRecord), encode(DrainRecord(number="x")))
    assert desk.operator().draining().number == "x"


def test_one_that_is_replaced_before_it_is_answered_names_what_came_instead(desk: Desk) -> None:
    proposed(desk)
    desk.is_away = True
    instead = RebalanceRecord(number="n", id="p2", by="ann@desk")
    desk.on_put = lambda: desk.put(key_of(RebalanceRecord), encode(instead))
    operator = desk.operator()
    said = "plan p1 was replaced before the controller answered, by plan p2, which ann@desk asked"
    with pytest.raises(OperationRefusedError, match=said):
        operator.apply("p1", timeout_s=30)
    desk.on_put = lambda: desk.put(key_of(RebalanceRecord), encode(instead))
    with pytest.raises(OperationRefusedError, match=r"the stop was replaced .* by plan p2"):
        operator.stop(timeout_s=30)


def test_an_older_request_that_is_all_there_is_to_read_replaces_nothing(desk: Desk) -> None:
    """The own one is written, and hidden for a moment by a transaction that is open."""
    desk.hear(RebalanceRecord(number="old", id="p0"))
    desk.put(key_of(RebalanceRecord), encode(RebalanceRecord(number="old", id="p0")))
    assert desk.operator().replaced_by("mine") is None


def test_a_stop_names_the_drain_that_it_found(desk: Desk) -> None:
    desk.operator().stop(timeout_s=5)
    desk.put(key_of(DrainRecord), encode(DrainRecord(number="x", workers=("w1",))))
    desk.operator().stop(timeout_s=5)
    assert [one.drain for one in desk.asked()] == ["", "x"]
    assert proposed(desk)
    desk.operator().apply("p1", timeout_s=5)
    assert desk.asked()[-1].drain is None


def test_of_two_that_ask_for_a_proposal_at_once_the_first_is_told(desk: Desk) -> None:
    desk.is_away = True
    other = ProposeRecord(number="n", by="ann@desk")

    def overwrite() -> None:
        desk.on_read = [None, lambda: desk.put(key_of(ProposeRecord), encode(other))]

    desk.on_put = overwrite
    with pytest.raises(OperationRefusedError, match="ann@desk asked for a proposal at the same"):
        desk.operator().propose(timeout_s=30)
