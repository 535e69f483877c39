"""An assignment that nobody can read is replaced by one that nobody can take for another."""

from __future__ import annotations

from streamer.cluster.salvage import replacements
from streamer.cluster.state import load
from streamer.cluster.work import Work
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.ids import TaskId

TASK = TaskId(0, 0)


def status(worker: str, *, seen: int = 0) -> StatusRecord:
    return StatusRecord(format=1, number=1, worker=worker, incarnation="s1.4", seen=seen)


def granted(worker: str, version: int) -> AssignmentRecord:
    return AssignmentRecord(format=1, version=version, worker=worker, incarnation="s2.0")


def test_the_incarnation_that_spoke_last_is_ended_above_all_versions() -> None:
    found = replacements(
        {"w1": b'{"format":7,"version":41,"tasks":"all"}', "w2": b"junk", "w3": b"{"},
        [granted("w4", 12)],
        [status("w1", seen=9), status("w3", seen=50)],
        wall_ms=77,
    )
    assert found["w2"] is None  # Nobody has heard of it: it was fenced, and its record goes.
    for worker in ("w1", "w3"):
        one = found[worker]
        assert one is not None
        assert (one.version, one.incarnation, one.ended, one.tasks) == (51, "s1.4", True, ())
        assert one.at_ms == 77


def test_what_its_worker_said_to_own_is_free_after_that() -> None:
    words = [status("w1")]
    found = replacements({"w1": b"junk"}, [], words, wall_ms=1)
    records = [one for one in found.values() if one is not None]
    state = load(
        "boss", Work(frozenset({TASK})), assignments=records, statuses=words, now_ms=1, wall_ms=1
    )
    assert state.workers["w1"].owners() == set()
    assert state.version == records[0].version
