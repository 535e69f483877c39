"""What a term asks of Kafka, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from streamer.clock import ManualClock
from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.events import Fence, Fenced, FenceFailed
from streamer.cluster.term import JOINING_MS, MEMBERS_MS, Term
from streamer.cluster.work import Work
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, Request
from streamer.errors import InvariantError
from streamer.ids import TaskId


def status(name: str, *, left: bool = False, number: int = 1) -> StatusRecord:
    worker, incarnation = name.split("#")
    return StatusRecord(
        format=1, number=number, worker=worker, incarnation=incarnation, left=left, at_ms=1
    )


def nothing() -> None:
    """What happens while a question is under way."""


class Script:
    """Ports that answer what the test laid out, and note what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.arriving: list[StatusRecord] = []
        self.at_the_end: list[StatusRecord] = []
        self.listed: frozenset[tuple[str, str]] | None = frozenset()
        self.written: dict[str, AssignmentRecord] = {}
        self.meanwhile: Callable[[], None] = nothing

    def claim(self) -> None:
        self.asked.append("claim")

    def load(self) -> tuple[Sequence[AssignmentRecord], Sequence[StatusRecord]]:
        self.asked.append("load")
        return [], []

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        if to_end:
            self.asked.append("last words")
            return self.at_the_end
        arrived, self.arriving = self.arriving, []
        return arrived

    def members(self) -> frozenset[tuple[str, str]] | None:
        self.asked.append("members")
        self.meanwhile()
        self.meanwhile = nothing
        return self.listed

    def fence(self, fence: Fence) -> None:
        self.asked.append(f"fence {fence.worker}")

    def fences(self) -> Sequence[Fenced | FenceFailed]:
        return []

    def write(self, records: Sequence[AssignmentRecord]) -> None:
        self.asked.append("write")
        self.written |= {each.worker: each for each in records}

    def requests(self) -> Sequence[Request | Answer]:
        return []

    def tell(self, answer: Answer) -> None:
        self.told = answer

    def forget(self, workers: Sequence[str]) -> None:
        self.asked.append("forget")


class Fixture:
    def __init__(self) -> None:
        self.ports = Script()
        self.clock = ManualClock()
        self.term = Term(
            self.ports,
            worker="boss",
            session="s0",
            work=Work(frozenset({TaskId(0, 0), TaskId(0, 1)})),
            clock=self.clock,
        )

    def open(self) -> None:
        self.term.open()
        self.ports.asked.clear()

    def with_two_workers(self) -> None:
        self.open()
        self.ports.listed = frozenset({("boss", "s0"), ("w1", "s1")})
        self.ports.arriving = [status("boss#s0.0"), status("w1#s1.0")]
        self.term.turn()
        self.clock.advance(SETTLE_MS)
        self.term.turn()
        assert self.ports.written.keys() == {"boss", "w1"}
        self.ports.asked.clear()


@pytest.fixture
def one() -> Fixture:
    return Fixture()


def test_it_claims_before_it_reads(one: Fixture) -> None:
    one.term.open()
    assert one.ports.asked == ["claim", "load"]


def test_a_turn_before_that_is_our_mistake(one: Fixture) -> None:
    with pytest.raises(InvariantError):
        one.term.turn()


def test_a_list_without_itself_is_of_another_time(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.listed = frozenset({("w2", "s2")})
    one.clock.advance(MEMBERS_MS)
    assert one.term.turn() == []
    assert one.ports.asked == ["members"]
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1")}


def test_nothing_follows_from_members_that_nobody_could_tell(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.listed = None
    one.clock.advance(MEMBERS_MS)
    assert one.term.turn() == []


def test_last_words_are_heard_before_anyone_is_fenced(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.listed = frozenset({("boss", "s0")})
    one.ports.at_the_end = [status("w1#s1.0", left=True, number=2)]
    one.clock.advance(MEMBERS_MS)
    one.term.turn()
    assert one.ports.asked == ["members", "last words", "write"]
    assert one.ports.written["boss"].tasks == ("0_0", "0_1")


def test_without_last_words_it_is_fenced(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.listed = frozenset({("boss", "s0")})
    one.clock.advance(MEMBERS_MS)
    had = one.ports.written["boss"].tasks
    one.term.turn()
    # Until it is fenced, the other one has no more than a copy of what it had.
    assert one.ports.asked == ["members", "last words", "fence w1", "write"]
    assert one.ports.written["boss"].tasks == had
    assert one.ports.written["boss"].standbys == one.ports.written["w1"].tasks


def test_members_are_asked_for_rarely_unless_something_happens(one: Fixture) -> None:
    one.with_two_workers()
    one.clock.advance(MEMBERS_MS - SETTLE_MS - 1)
    one.term.turn()
    assert one.ports.asked == []
    one.term.stir()
    one.term.turn()
    assert one.ports.asked == ["members"]
    one.ports.arriving = [status("w2#s2.0")]
    one.clock.advance(JOINING_MS)
    one.term.turn()
    one.clock.advance(JOINING_MS)
    one.term.turn()
    assert one.ports.asked == ["members"] * 3


def test_a_long_list_is_asked_for_seldom_and_at_once_when_the_group_changed(one: Fixture) -> None:
    one.with_two_workers()
    crowd = {(f"w{number}", "s1") for number in range(2, 400)}
    one.ports.listed = frozenset({("boss", "s0"), ("w1", "s1"), *crowd})
    one.clock.advance(MEMBERS_MS)
    one.term.turn()
    assert len(one.term.sessions) == 400
    one.ports.asked.clear()
    one.clock.advance(1_999)
    one.term.turn()
    assert "members" not in one.ports.asked
    one.clock.advance(1)
    one.term.turn()
    assert "members" in one.ports.asked
    one.ports.asked.clear()
    one.term.stir()
    one.term.turn()
    assert "members" in one.ports.asked


def test_a_change_of_the_group_during_the_question_is_asked_about_as_well(one: Fixture) -> None:
    one.with_two_workers()
    crowd = {(f"w{number}", "s1") for number in range(2, 400)}
    one.ports.listed = frozenset({("boss", "s0"), ("w1", "s1"), *crowd})
    one.ports.meanwhile = one.term.stir
    one.term.stir()
    one.term.turn()
    one.term.turn()
    assert one.ports.asked.count("members") == 2
