"""What a term asks of Kafka, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import pytest

from streamer.clock import ManualClock
from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.events import EndPause, Fence, Fenced, FenceFailed, PauseEnded, Write
from streamer.cluster.hold import HOLD_MS
from streamer.cluster.roll import JOINING_MS
from streamer.cluster.term import Term
from streamer.cluster.work import Work
from streamer.control.goals import GoalRecord
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.requests import Answer, PauseRecord, Request
from streamer.errors import InvariantError, LayoutChangedError
from streamer.ids import TaskId

SUSPICION_MS = 6_000


def status(name: str, *, left: bool = False, number: int = 1, at_ms: int = 1) -> StatusRecord:
    worker, incarnation = name.split("#")
    return StatusRecord(
        format=1, number=number, worker=worker, incarnation=incarnation, left=left, at_ms=at_ms
    )


class Script:
    """Ports that answer what the test laid out, and note what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened: list[str] = []
        self.arriving: list[StatusRecord] = []
        self.at_the_end: list[StatusRecord] = []
        self.last: list[StatusRecord] = []
        self.kept: frozenset[tuple[str, str]] | None = frozenset()
        self.written: dict[str, AssignmentRecord] = {}
        self.recorded = 1
        self.standing: list[Request | Answer] = []

    def claim(self) -> None:
        self.asked.append("claim")

    def load(self) -> tuple[Sequence[AssignmentRecord], Sequence[StatusRecord]]:
        self.asked.append("load")
        return [], self.last

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        if to_end:
            self.asked.append("last words")
            return self.at_the_end
        arrived, self.arriving = self.arriving, []
        return arrived

    def alive(self, suspects: Set[tuple[str, str]]) -> frozenset[tuple[str, str]] | None:
        self.asked.append("alive " + " ".join(sorted(worker for worker, _ in suspects)))
        return None if self.kept is None else self.kept & suspects

    def fence(self, fence: Fence) -> None:
        self.asked.append(f"fence {fence.worker}")

    def fences(self) -> Sequence[Fenced | FenceFailed]:
        return []

    def layout(self) -> int:
        self.asked.append("layout")
        return self.recorded

    def end_pause(self, asked: EndPause) -> None:
        self.asked.append(f"end {asked.number}")

    def pauses_ended(self) -> Sequence[PauseEnded]:
        return []

    def goal(self) -> Mapping[int, GoalRecord]:
        return {}

    def write(self, written: Write) -> None:
        self.asked.append("write")
        self.written |= {each.worker: each for each in written.records}

    def requests(self) -> Sequence[Request | Answer]:
        standing, self.standing = self.standing, []
        if standing:
            self.asked.append("requests")
        return standing

    def tell(self, answer: Answer) -> None:
        self.told = answer

    def forget(self, workers: Sequence[str]) -> None:
        self.asked.append("forget")


class Fixture:
    def __init__(self) -> None:
        self.ports = Script()
        self.clock = ManualClock()
        self.number = 0
        self.term = Term(
            self.ports,
            me=("boss", "s0"),
            work=Work(frozenset({TaskId(0, 0), TaskId(0, 1)})),
            suspicion_ms=SUSPICION_MS,
            clock=self.clock,
        )

    def turn(self, *names: str, after_ms: int = 0) -> None:
        """These speak, the controller among them, and it takes its turn."""
        self.clock.advance(after_ms)
        self.number += 1
        spoken = ("boss#s0.0", *names)
        self.ports.arriving = [status(name, number=self.number) for name in spoken]
        self.term.turn()

    def open(self, *before: StatusRecord) -> None:
        """Whoever is elected has spoken before, as these have."""
        newest_ms = max((each.at_ms for each in before), default=self.clock.now_ms())
        self.ports.last = [*before, status("boss#s0.0", number=0, at_ms=newest_ms)]
        self.term.open()

    def with_two_workers(self) -> None:
        self.open()
        self.ports.opened = [*self.ports.asked]
        self.ports.kept = frozenset({("w1", "s1")})
        self.turn("w1#s1.0")
        self.turn("w1#s1.0", after_ms=SETTLE_MS)
        assert self.ports.written.keys() == {"boss", "w1"}
        self.ports.kept = frozenset()
        self.ports.asked.clear()


@pytest.fixture
def one() -> Fixture:
    return Fixture()


def test_it_claims_before_it_reads(one: Fixture) -> None:
    one.term.open()
    assert one.ports.asked == ["claim", "load", "layout"]


def test_it_does_not_begin_under_a_layout_that_is_over(one: Fixture) -> None:
    """What its predecessors told of a pause may be of a later layout."""
    one.ports.recorded = 2
    with pytest.raises(LayoutChangedError, match="layout 2 was recorded"):
        one.term.open()
    assert one.term.state is None


def test_a_pause_that_was_over_before_it_looked_at_the_layout_is_carried_by_no_assignment(
    one: Fixture,
) -> None:
    """What a switch has ended holds nobody up in the next layout."""
    one.ports.standing = [PauseRecord(number="p1", is_over=True)]
    one.with_two_workers()
    assert one.ports.opened == ["claim", "load", "requests", "layout"]
    assert {each.paused for each in one.ports.written.values()} == {""}
    one.turn("w1#s1.0", after_ms=4_000)
    assert "end p1" not in one.ports.asked


def test_one_that_is_not_over_is_carried_on(one: Fixture) -> None:
    one.ports.standing = [PauseRecord(number="p1", lease_ms=30_000)]
    one.with_two_workers()
    assert {each.paused for each in one.ports.written.values()} == {"p1"}


def test_a_turn_before_that_is_our_mistake(one: Fixture) -> None:
    with pytest.raises(InvariantError):
        one.term.turn()


def test_nobody_is_asked_for_while_all_speak(one: Fixture) -> None:
    one.with_two_workers()
    for _ in range(20):
        one.turn("w1#s1.0", after_ms=4_000)
    assert one.ports.asked == []


def test_nothing_is_given_to_the_long_dead_while_nobody_can_tell_who_they_are(
    one: Fixture,
) -> None:
    one.ports.kept = None
    one.open(status("boss#s0.0", number=0, at_ms=100_000), status("ghost#s1.0", at_ms=1))
    for _ in range(4):
        one.turn(after_ms=SETTLE_MS)
    assert one.ports.written == {}
    one.ports.kept = frozenset()
    one.turn()
    one.turn(after_ms=SETTLE_MS)
    assert {worker: each.tasks for worker, each in one.ports.written.items()} == {
        "boss": ("0_0", "0_1")
    }


def test_last_words_are_heard_before_anyone_is_fenced(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.at_the_end = [status("w1#s1.0", left=True, number=99)]
    one.turn(after_ms=SUSPICION_MS - 1)
    assert one.ports.asked == []
    one.turn(after_ms=1)
    assert one.ports.asked == ["alive w1", "last words", "write"]
    assert one.ports.written["boss"].tasks == ("0_0", "0_1")


def test_a_word_that_is_there_by_now_saves_whose_session_has_ended(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.at_the_end = [status("w1#s1.0", number=99)]
    one.turn(after_ms=SUSPICION_MS)
    assert one.ports.asked == ["alive w1", "last words"]
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1")}


def test_a_silent_one_whose_session_is_kept_keeps_its_tasks(one: Fixture) -> None:
    """As while user code does not let go of the interpreter."""
    one.with_two_workers()
    one.ports.kept = frozenset({("w1", "s1")})
    for _ in range(10):
        one.turn(after_ms=SUSPICION_MS)
    assert one.ports.asked == ["alive w1"] * 10
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1")}


def test_nothing_follows_from_what_nobody_could_tell(one: Fixture) -> None:
    one.with_two_workers()
    one.ports.kept = None
    one.turn(after_ms=SUSPICION_MS)
    assert one.ports.asked == ["alive w1"]
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1")}


def test_without_last_words_it_is_fenced(one: Fixture) -> None:
    one.with_two_workers()
    had = one.ports.written["boss"].tasks
    one.turn(after_ms=SUSPICION_MS)
    assert one.ports.asked == ["alive w1", "last words", "fence w1"]
    # Until it is fenced, the other one has no more than a copy of what it had.
    one.turn(after_ms=HOLD_MS)
    assert one.ports.asked[-1] == "write"
    assert one.ports.written["boss"].tasks == had
    assert one.ports.written["boss"].standbys == one.ports.written["w1"].tasks


def test_whoever_speaks_is_there_once_kafka_has_its_session(one: Fixture) -> None:
    one.with_two_workers()
    one.turn("w1#s1.0", "w2#s2.0")
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1")}
    one.ports.kept = frozenset({("w2", "s2")})
    one.turn(after_ms=JOINING_MS)
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1"), ("w2", "s2")}
    # Nobody is dead, so no last words were read.
    assert one.ports.asked == ["alive w2", "alive w2"]


def test_a_record_without_a_process_is_given_nothing(one: Fixture) -> None:
    one.with_two_workers()
    had = dict(one.ports.written)
    one.turn("w1#s1.0", "guest#9f3c.0")
    for _ in range(50):
        one.turn("w1#s1.0", after_ms=1_000)
    assert one.ports.written == had
    assert "fence guest" not in one.ports.asked


def test_of_those_who_spoke_long_ago_the_first_turn_finds_out_who_lives(one: Fixture) -> None:
    one.ports.kept = frozenset({("w3", "s3")})
    one.open(
        status("w1#s1.0", at_ms=99_000),
        status("w2#s2.0", at_ms=1_000),
        status("w3#s3.0", at_ms=2_000),
    )
    one.turn()
    assert "alive w2 w3" in one.ports.asked
    assert one.term.sessions == {("boss", "s0"), ("w1", "s1"), ("w3", "s3")}
