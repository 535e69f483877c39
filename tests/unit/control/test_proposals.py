"""A proposal of a large fleet is split over records, and none of its moves is lost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.assignment.facts import Copies, Facts, Load, Site
from streamer.cluster.outlook import proposal
from streamer.control.proposals import PAGE_MOVES, joined, pages_of
from streamer.control.requests import MoveRecord, ProposalRecord
from streamer.errors import InternalTopicError
from streamer.ids import TaskId

TOPIC = "app.operations"
# As many tasks as one proposal has at most, each with a copy that goes as well.
TASKS = 2_000


def made(tasks: int = TASKS, number: str = "n") -> ProposalRecord:
    name = "a-long-name-of-a-worker-in-a-zone-{}"
    after = {f"0_{at}": (name.format(at % 1_200), name.format(at % 1_199)) for at in range(tasks)}
    moves = tuple(
        MoveRecord(
            task=task,
            kind=kind,
            source=name.format(7),
            target=target,
            bytes=1 << 40,
            why=f"balance: {target} has 12 % less bytes than its share, {name.format(7)} has more",
        )
        for task, targets in after.items()
        for kind, target in zip(("active", "standby"), targets, strict=True)
    )
    before = dict.fromkeys(after, (name.format(7), name.format(8)))
    return ProposalRecord(id="p", number=number, before=before, after=after, moves=moves)


def test_each_record_fits_and_all_moves_are_there() -> None:
    whole = made()
    rows = pages_of(whole, application="app")
    assert [key for key, _ in rows] == [f"proposal/{at}" for at in range(1, len(rows))] + [
        "proposal"
    ]
    sizes = [len(value or b"") for _, value in rows]
    # Kafka takes 1,000,000 by default.
    assert max(sizes) < 600_000
    read = joined(dict(rows), TOPIC)
    assert read is not None
    assert read.moves == whole.moves
    assert len(rows) == -(-len(whole.moves) // PAGE_MOVES)


def test_what_a_smaller_one_leaves_of_a_larger_one_is_taken_back() -> None:
    first = dict(pages_of(made()))
    few = made(200, "later")
    rows = pages_of(few, standing=[key for key in first if key != "proposal"])
    log = first | dict(rows)
    assert {key for key, value in log.items() if value} == {"proposal", "proposal/1"}
    read = joined(log, TOPIC)
    assert read is not None
    assert read.moves == few.moves
    assert rows[-1][0] == "proposal"


def test_pages_of_a_later_one_are_not_taken_for_its_own() -> None:
    whole = made(400)
    log = dict(pages_of(made(400, "later"))) | {"proposal": dict(pages_of(whole))["proposal"]}
    read = joined(log, TOPIC)
    assert read is not None
    assert read.moves == whole.moves[:PAGE_MOVES]
    assert joined({}, TOPIC) is None


def test_one_of_another_application_or_release_is_refused() -> None:
    rows = dict(pages_of(made(400), application="shop"))
    with pytest.raises(InternalTopicError, match="'proposal' is of application 'shop'"):
        joined(rows, TOPIC)
    mixed = rows | {"proposal": dict(pages_of(made(400), application="app"))["proposal"]}
    with pytest.raises(InternalTopicError, match="'proposal/1' is of application 'shop'"):
        joined(mixed, TOPIC)
    with pytest.raises(InternalTopicError, match="format version 9"):
        joined(mixed | {"proposal/1": b'{"format":9}'}, TOPIC)
    with pytest.raises(InternalTopicError, match="is not a page of a proposal"):
        joined(mixed | {"proposal/1": b'{"format":1,"moves":3}'}, TOPIC)


def test_each_task_that_changes_has_its_reason() -> None:
    tasks = {TaskId(0, number): Load(1_000, 10) for number in range(540)}
    target = {task: Copies(f"w{at % 2}") for at, task in enumerate(tasks)}
    sites = {f"w{at}": Site(host=f"h{at}") for at in range(4)}
    found = proposal(Facts(workers=sites, tasks=tasks, previous=target), target)
    assert len(found.after) > PAGE_MOVES
    assert {move.task for move in found.moves} == found.after.keys()
    assert all(move.why and move.bytes for move in found.moves)
    read = joined(dict(pages_of(replace(found, number="n"))), TOPIC)
    assert read is not None
    assert read.moves == found.moves
