"""When `streamer drain` is done: not before its very request was looked at and nothing is held."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from streamer.cli import moves
from streamer.cli.known import check_known
from streamer.cli.wish import Wish
from streamer.control.operator import Operator
from streamer.control.requests import (
    DrainRecord,
    ModeRecord,
    PlanRecord,
    RebalanceRecord,
    encode,
)
from streamer.control.said import Said
from streamer.errors import (
    ConfigError,
    KafkaUnavailableError,
    OperationRefusedError,
    UnfinishedError,
)
from streamer.ids import TopicPartition
from streamer.kafka.table import Row

A, B = frozenset({"az=a"}), frozenset({"az=b"})
NONE: frozenset[str] = frozenset()


class Topic(Operator):
    """An operator whose topic is a list; the controller says what the test lays out."""

    def __init__(self, log: list[DrainRecord] | None = None) -> None:
        self.log = [] if log is None else log
        self.told: PlanRecord | None = None
        self.is_controlled = True
        self._said = Said()

    def draining(self) -> DrainRecord:
        return self.log[-1] if self.log else DrainRecord()

    def drain(
        self,
        *,
        zones: Iterable[str],
        workers: Iterable[str],
        kept: Iterable[str] = (),
        follows: str = "",
    ) -> DrainRecord:
        made = DrainRecord(
            number=str(len(self.log) + 1),
            follows=follows,
            zones=tuple(sorted(zones)),
            workers=tuple(sorted(workers)),
            kept=tuple(sorted(kept)),
        )
        self.log.append(made)
        return made

    def is_informed(self, drain: DrainRecord, of: Iterable[str]) -> bool:
        place = TopicPartition("app.operations", 0)
        rows = [Row(place, at, "drain", encode(one)) for at, one in enumerate(self.log)]
        self._said.take(rows, place.topic)
        return super().is_informed(drain, of)

    def stop_asked(self) -> RebalanceRecord | None:
        return RebalanceRecord(number="s", stops=True, by="ann@desk")

    def plan(self) -> PlanRecord | None:
        return self.told

    def has_controller(self) -> bool:
        return self.is_controlled


def told(drain: str, **more: object) -> PlanRecord:
    return PlanRecord(controller="w1#s1", drain=drain, **more)  # type: ignore[arg-type]


def test_it_is_done_when_its_own_request_was_looked_at_and_nothing_is_held() -> None:
    topic = Topic()
    wish = Wish(topic, A, NONE)
    wish.ask()
    assert wish.look(None) == ("waiting for the controller", False)
    assert wish.look(told("", moves_left=0)) == ("waiting for the controller", False)
    held = told("1", moves_left=2, holding={"w1": 3})
    line, is_over = wish.look(held)
    assert line.startswith("3 tasks and copies are still on w1; 2 moves left")
    assert not is_over
    # No moves are left by the plan, and the worker still has a task open.
    assert not wish.look(told("1", moves_left=0, holding={"w1": 1}))[1]
    done = "done: the drained workers have let go of everything"
    assert wish.look(told("1", moves_left=4)) == (done, True)


def test_where_nobody_can_have_the_rest_it_fails_and_says_what_would_help() -> None:
    wish = Wish(Topic(), A, NONE)
    wish.ask()
    mode = ModeRecord(name="no_workers", until="a worker that is ready")
    stuck = told("1", holding={"w1": 2}, staying={"w1": 2}, modes=(mode,))
    with pytest.raises(UnfinishedError, match=r"2 tasks and copies stay on w1.*no_workers") as e:
        wish.look(stuck)
    assert e.value.exit_code == 1
    assert "the drain stands" in e.value.hint
    assert not wish.look(told("1", holding={"w1": 3}, staying={"w1": 2}))[1]


def test_two_that_are_asked_for_at_once_are_both_done() -> None:
    log: list[DrainRecord] = []
    first, second = Topic(log), Topic()
    one, two = Wish(first, A, NONE), Wish(second, B, NONE)
    one.ask()
    two.ask()  # It has read nothing of the other one,
    log.append(DrainRecord(number="9", zones=second.log[-1].zones))  # and replaces it.
    line, is_over = one.look(told("9"))
    assert (line[:14], is_over) == ("something else", False)
    assert log[-1].zones == ("az=a", "az=b")
    assert log[-1].follows == "9"
    assert not one.look(told("9"))[1]
    assert one.look(told(log[-1].name))[1]
    second.log = log
    assert two.look(told(log[-1].name))[1]


def test_one_that_was_taken_back_is_not_asked_for_again() -> None:
    topic = Topic()
    wish = Wish(topic, A, NONE)
    wish.ask()
    Wish(topic, B, NONE).ask()
    Wish(topic, A, NONE, is_undone=True).ask()
    assert topic.draining().zones == ("az=b",)
    with pytest.raises(OperationRefusedError, match="was taken back by somebody"):
        wish.look(told("3"))


def test_taking_back_is_done_when_no_moves_are_left() -> None:
    topic = Topic()
    Wish(topic, A | B, NONE).ask()
    undo = Wish(topic, A, NONE, is_undone=True)
    assert undo.ask().zones == ("az=b",)
    assert not undo.look(told("1"))[1]
    assert not undo.look(told("2", moves_left=1, holding={"b": 1}))[1]
    assert undo.look(told("2", holding={"b": 1}))[1]


def test_without_a_controller_it_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic()
    wish = Wish(topic, A, NONE, answer_s=0.0)
    wish.ask()
    time.sleep(0.001)
    with pytest.raises(KafkaUnavailableError, match="no controller has looked at the request"):
        wish.look(told("another"))
    # One that has looked, and died with all the others.
    monkeypatch.setattr(moves, "_SILENCE_S", 0.0)
    topic.told, topic.is_controlled = told("1", holding={"w1": 1}), False
    with pytest.raises(KafkaUnavailableError, match="no worker is the controller"):
        moves.follow(topic, wish.look, pause_s=0.001)


def test_one_that_is_asked_for_later_by_another_has_its_own_time() -> None:
    topic = Topic()
    wish = Wish(topic, A, NONE, answer_s=0.05)
    wish.ask()
    held = told("1", holding={"w1": 1})
    assert not wish.look(held)[1]
    time.sleep(0.06)
    Wish(topic, B, NONE).ask()
    assert wish.look(held) == ("waiting for the controller", False)
    time.sleep(0.06)
    with pytest.raises(KafkaUnavailableError, match="no controller has looked at the request"):
        wish.look(held)


def test_it_is_about_its_own_workers_and_not_about_those_of_others() -> None:
    topic = Topic()
    Wish(topic, B, frozenset({"w9"})).ask()
    places = {"w1": "cloud=x,az=a", "w2": "cloud=x,az=b", "w9": "cloud=x,az=c"}
    mine = Wish(topic, A, frozenset({"w3"}), places=lambda: places)
    mine.ask()
    others = {"w2": 4, "w9": 5}
    line, is_over = mine.look(told("2", holding=others | {"w1": 1, "w3": 1, "new": 1}))
    # Where one is that has not been heard of yet, nobody knows.
    assert line.startswith("3 tasks and copies are still on new, w1, w3;")
    assert not is_over
    assert mine.look(told("2", holding=others, staying=others))[1]
    with pytest.raises(UnfinishedError, match="1 tasks and copies stay on w1: nobody else"):
        mine.look(told("2", holding=others | {"w1": 1}, staying={"w1": 1}))


def test_one_that_is_stopped_ends_with_who_did_it_and_how_to_go_on() -> None:
    topic = Topic()
    wish = Wish(topic, A, frozenset({"w1"}))
    wish.ask()
    with pytest.raises(UnfinishedError, match="ann@desk has stopped all moves: 2 tasks") as stopped:
        wish.look(told("1", halted="1", holding={"w1": 2}))
    assert stopped.value.exit_code == 1
    assert "To go on: streamer drain --zone az=a --worker w1." in stopped.value.hint
    # What had nothing by then is done all the same.
    assert wish.look(told("1", halted="1"))[1]
    undo = Wish(topic, A, NONE, is_undone=True)
    undo.ask()
    with pytest.raises(UnfinishedError, match="ann@desk has stopped all moves: nothing is moved"):
        undo.look(told("2", halted="2", moves_left=1))


def test_what_was_stopped_stays_so_until_it_is_asked_for_itself() -> None:
    topic = Topic()
    Wish(topic, A, NONE).ask()
    topic.told = told("1", halted="1", holding={"w1": 2})
    other = Wish(topic, B, NONE, places=lambda: {"w1": "az=a", "w2": "az=b"})
    asked = other.ask()
    assert (asked.zones, asked.kept) == (("az=a", "az=b"), ("az=a",))
    assert other.look(told("2", halted="1", holding={"w1": 2}))[1]
    topic.told = told("2", halted="1")
    assert Wish(topic, frozenset({"az=c"}), NONE).ask().kept == ("az=a",)
    assert Wish(topic, frozenset({"az=c"}), NONE, is_undone=True).ask().kept == ("az=a",)
    assert Wish(topic, A, NONE).ask().kept == ()


def known(zones: Iterable[str] = (), workers: Iterable[str] = ()) -> list[str]:
    return check_known(
        zones,
        workers,
        places={"shop-1": "cloud=x,az=eu-1", "shop-2": "cloud=x,az=eu-2", "gone-1": "az=us-1"},
        alive={"shop-1", "shop-2"},
        drained={"forgotten", "az=forgotten"},
    )


def test_a_name_that_nobody_has_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="there is no worker shop1") as refused:
        known(workers=["shop-2", "shop1"])
    assert refused.value.exit_code == 2
    assert refused.value.hint.startswith("is shop-1 meant? workers: shop-1, shop-2;")
    with pytest.raises(ConfigError, match="no worker has the tag az=eu1 in its zone") as refused:
        known(zones=["az=eu1"])
    assert "is az=eu-1 meant? tags: az=eu-1, az=eu-2, az=us-1, cloud=x;" in refused.value.hint
    with pytest.raises(ConfigError, match="there is no worker x"):
        check_known([], ["x"], places={}, alive=set(), drained=set())


def test_those_that_have_left_and_those_that_are_drained_already_may_be_named() -> None:
    assert known(["az=eu-1", "cloud=x"], ["shop-1"]) == []
    assert known(["az=us-1"], ["gone-1"]) == [
        "nothing to do for gone-1: no worker of that name lives",
        "nothing to do for az=us-1: no worker of that name lives",
    ]
    assert len(known(["az=forgotten"], ["forgotten"])) == 2
