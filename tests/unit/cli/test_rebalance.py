"""`streamer rebalance`: a plan that was replaced is not waited for; a stop tells of drains."""

from __future__ import annotations

import pytest

from streamer.cli.main import main
from streamer.cli.rebalance import moves_of
from streamer.control.requests import DrainRecord, RebalanceRecord, encode, key_of
from tests.unit.control.desk import Desk


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(monkeypatch)
    made.operator().propose(timeout_s=5)
    return made


def run(*arguments: str) -> int:
    return main([*arguments, "--app", "app"])


def test_a_plan_that_was_replaced_while_it_is_made_ends_with_the_newer_one(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.moves_left = 7

    def stop() -> None:
        wish = RebalanceRecord(number="s", stops=True, by="ann@desk")
        desk.put(key_of(RebalanceRecord), encode(wish))
        desk.moves_left = 0
        desk.hear(wish)

    desk.on_read = [None, None, stop]
    assert run("rebalance", "apply", "p1") == 1
    out, err = capsys.readouterr()
    assert "plan p1 is adopted" in out
    assert "plan p1 was replaced by a stop of all moves, which ann@desk asked for" in err


def test_one_whose_replacement_was_refused_goes_on(desk: Desk) -> None:
    desk.moves_left = 7
    operator = desk.operator()
    number = operator.apply("p1", timeout_s=5)
    desk.put(key_of(RebalanceRecord), encode(RebalanceRecord(number="n", id="unknown")))
    # It stands, and the controller has yet to come to it.
    assert moves_of(operator, operator.plan(), wanted="p1", number=number)[1] is False
    desk.outcome = ("n", "refused: no proposal unknown is known: plan anew")
    desk.tell()
    assert moves_of(operator, operator.plan(), wanted="p1", number=number)[1] is False
    desk.moves_left = 0
    desk.tell()
    assert moves_of(operator, operator.plan(), wanted="p1", number=number)[1] is True


def test_a_stop_says_what_it_means_for_a_drain(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rebalance", "stop") == 0
    assert "drain" not in capsys.readouterr().out
    drain = DrainRecord(number="d", zones=("az=a",), workers=("w1",))
    desk.put(key_of(DrainRecord), encode(drain))
    # The controller is of an older release, and empties them all the same.
    assert run("rebalance", "stop") == 1
    assert "the drain of az=a, w1 goes on" in capsys.readouterr().err
    desk.halted = "d"
    for command in (("rebalance", "stop"), ("show", "moves")):
        assert run(*command) == 0
        out = capsys.readouterr().out
        assert "the drain of az=a, w1 is stopped: its workers keep what they have" in out
        assert "to go on: streamer drain --zone az=a --worker w1" in out
        assert "to end it: streamer drain --undo --zone az=a --worker w1" in out
