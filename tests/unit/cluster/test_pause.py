"""A pause of the application, as the controller keeps it and as a worker does."""

from __future__ import annotations

import pytest

from streamer.cluster.events import EndPause
from streamer.cluster.kept import KeptPause
from streamer.cluster.pause import Pause
from streamer.cluster.view import WorkerView
from streamer.control.messages import FORMAT, AssignmentRecord, StatusRecord
from streamer.control.requests import PauseRecord

LEASE_MS = 5_000


def view(worker: str, *, paused: str = "", resumed: str = "", version: int = 1) -> WorkerView:
    """A worker that owns a task, and has said so."""
    made = WorkerView()
    incarnation = f"{worker}-1.0"
    made.take(
        AssignmentRecord(
            format=FORMAT, version=version, worker=worker, incarnation=incarnation, tasks=("0_0",)
        )
    )
    made.hear(
        StatusRecord(
            format=FORMAT,
            number=1,
            worker=worker,
            incarnation=incarnation,
            seen=version,
            paused=paused,
            resumed=resumed,
        )
    )
    return made


@pytest.fixture
def pause() -> Pause:
    made = Pause()
    assert made.hear(PauseRecord(number="one", lease_ms=LEASE_MS), 0)
    return made


def test_it_holds_once_all_have_said_so(pause: Pause) -> None:
    workers = {"w1": view("w1", paused="one"), "w2": view("w2")}
    assert pause.carried == ("one", LEASE_MS)
    assert pause.look(workers)
    assert (pause.told, pause.unpaused) == (("one", "asked"), ("w2",))
    assert not pause.look(workers), "that is no news any more"
    workers["w2"] = view("w2", paused="one")
    assert pause.look(workers)
    assert (pause.told, pause.unpaused) == (("one", "holds"), ())


def test_what_holds_goes_on_to_hold(pause: Pause) -> None:
    """Who owns something later was given the pause with it."""
    pause.look({"w1": view("w1", paused="one")})
    assert not pause.look({"w1": view("w1", paused="one"), "w2": view("w2")})
    assert pause.told == ("one", "holds")
    assert pause.carried == ("one", LEASE_MS)


def test_who_was_granted_something_and_has_not_spoken_may_process(pause: Pause) -> None:
    silent = WorkerView()
    silent.take(
        AssignmentRecord(format=FORMAT, version=1, worker="w3", incarnation="x-1.0", tasks=("0_1",))
    )
    pause.look({"w1": view("w1", paused="one"), "w3": silent})
    assert (pause.state, pause.unpaused) == ("asked", ("w3",))


def test_a_pause_of_before_counts_for_nothing(pause: Pause) -> None:
    pause.look({"w1": view("w1", paused="zero", resumed="zero")})
    assert pause.told == ("one", "asked")


def test_its_end_is_sure_before_it_is_told(pause: Pause) -> None:
    assert not pause.is_to_end(LEASE_MS - 1)
    assert pause.hear(PauseRecord(number="one", is_over=True), 100)
    assert pause.stands, "whoever is granted a task is not to process yet"
    assert pause.is_to_end(100)
    assert not pause.ending.fences, "who asked for it has ended it"
    assert not pause.is_to_end(200), "it is being looked at"
    assert not pause.tried("one", is_done=False, now_ms=300)
    assert not pause.is_to_end(301)
    assert pause.is_to_end(10_000), "tried again"
    assert pause.tried("one", is_done=True, now_ms=10_100)
    assert (pause.told, pause.carried) == (("one", "lifted"), ("", 0))
    assert not pause.hear(PauseRecord(number="one", is_over=True), 10_200)


def test_a_lease_that_is_over_ends_it_by_a_fence(pause: Pause) -> None:
    pause.look({"w1": view("w1", paused="one")})
    assert pause.is_to_end(LEASE_MS)
    assert pause.ending == EndPause("one", fences=True)
    assert pause.tried("one", is_done=True, now_ms=LEASE_MS)
    assert pause.told == ("one", "lapsed")


def test_a_worker_that_has_ended_it_ends_it_for_all(pause: Pause) -> None:
    pause.look({"w1": view("w1", paused="one")})
    assert pause.look({"w1": view("w1", resumed="one")})
    assert pause.told == ("one", "lapsed")


def test_the_next_controller_goes_by_what_was_told_and_asked() -> None:
    for told, carried in (("lapsed", ""), ("lifted", ""), ("holds", "one"), ("asked", "one")):
        pause = Pause()
        pause.remember(("one", told))
        pause.hear(PauseRecord(number="one", lease_ms=LEASE_MS), 0)
        assert pause.carried[0] == carried, told


def test_one_that_was_never_heard_of_is_looked_at_before_it_is_over() -> None:
    """A controller that comes after the switch reads of the end of the pause alone."""
    pause = Pause()
    assert pause.hear(PauseRecord(number="one", is_over=True), 0)
    assert pause.stands
    assert pause.is_to_end(0)


def test_a_later_claim_takes_the_place_of_the_former(pause: Pause) -> None:
    assert pause.is_to_end(LEASE_MS)
    assert pause.hear(PauseRecord(number="two", lease_ms=LEASE_MS), LEASE_MS)
    assert not pause.tried("one", is_done=True, now_ms=LEASE_MS + 1)
    assert pause.told == ("two", "asked")
    assert not pause.is_to_end(LEASE_MS + 1)


def test_a_worker_keeps_it_until_it_is_over() -> None:
    kept = KeptPause()
    assert kept.look("", 0) == "go on"
    assert kept.look("one", 0) == "pause"
    kept.keep("one", 0, LEASE_MS)
    assert kept.look("one", LEASE_MS - 1) == "keep"
    assert kept.look("", 1) == "resume"
    assert kept.look("two", 1) == "pause", "another one begins with a lease of its own"
    kept.begin()
    assert (kept.number, kept.resumed) == ("", "")


def test_what_a_worker_has_ended_it_does_not_keep_again() -> None:
    kept = KeptPause()
    kept.keep("one", 0, LEASE_MS)
    assert kept.look("one", LEASE_MS) == "end"
    kept.end()
    assert (kept.number, kept.resumed) == ("", "one")
    assert kept.look("one", LEASE_MS + 1) == "go on", "the controller carries it still"
    assert kept.look("two", LEASE_MS + 2) == "pause"


def test_a_new_controller_that_has_looked_at_the_layout_carries_no_pause_that_is_over() -> None:
    made = Pause()
    made.settle(over := PauseRecord(number="one", lease_ms=LEASE_MS, is_over=True))
    assert (made.told, made.carried) == (("one", "lifted"), ("", 0))
    assert not made.hear(over, 0)
    assert not made.is_to_end(LEASE_MS)


def test_one_that_is_not_over_is_carried_by_the_next_controller() -> None:
    made = Pause()
    made.settle(asked := PauseRecord(number="one", lease_ms=LEASE_MS))
    assert made.hear(asked, 0)
    assert made.carried == ("one", LEASE_MS)
    made.settle(PauseRecord(number="one", is_over=True))
    assert made.carried == ("", 0)
