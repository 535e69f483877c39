"""A proposal of a large fleet is split over records, and none of its moves is lost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.assignment.facts import Copies, Facts, Load, Site
from streamer.cluster.outlook import proposal
from streamer.control.proposals import PAGE_SIZE, joined, pages_of
from streamer.errors import InternalTopicError
from streamer.ids import TaskId
from tests.unit.control.moving import LONGEST, TASKS, made

TOPIC = "app.operations"
# What brokers take by default.
MESSAGE_BYTES_MAX = 1_000_000


def test_each_record_fits_and_all_moves_are_there() -> None:
    whole = made()
    rows = pages_of(whole, application="app")
    assert [key for key, _ in rows] == [f"proposal/{at}" for at in range(1, len(rows))] + [
        "proposal"
    ]
    sizes = [len(value or b"") for _, value in rows]
    assert max(sizes) < MESSAGE_BYTES_MAX // 4
    read = joined(dict(rows), TOPIC)
    assert read is not None
    assert read == replace(whole, pages=len(rows) - 1, application="app")
    assert len(rows) == -(-len(whole.moves) // PAGE_SIZE)


def test_each_record_fits_with_the_longest_names_and_many_copies() -> None:
    whole = made(PAGE_SIZE * 2 + 1, name=LONGEST, copies=6)
    rows = dict(pages_of(whole, application="app"))
    assert max(len(value or b"") for value in rows.values()) < MESSAGE_BYTES_MAX
    assert joined(rows, TOPIC) == replace(whole, pages=len(rows) - 1, application="app")


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE, PAGE_SIZE + 1])
def test_tasks_are_there_where_there_are_fewer_moves(count: int) -> None:
    whole = replace(made(count), moves=made(count).moves[: count // 2])
    rows = dict(pages_of(whole))
    assert joined(rows, TOPIC) == replace(whole, pages=len(rows) - 1)
    assert len(rows) == max(1, -(-count // PAGE_SIZE))


def test_what_a_smaller_one_leaves_of_a_larger_one_is_taken_back() -> None:
    first = dict(pages_of(made()))
    few = made(150, "later")
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
    assert joined(log, TOPIC) is None
    assert joined(log | {"proposal/1": None}, TOPIC) is None
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


@pytest.mark.slow
def test_each_task_that_changes_has_its_reason() -> None:
    tasks = {TaskId(0, number): Load(1_000, 10) for number in range(540)}
    target = {task: Copies(f"w{at % 2}") for at, task in enumerate(tasks)}
    sites = {f"w{at}": Site(host=f"h{at}") for at in range(4)}
    found = proposal(Facts(workers=sites, tasks=tasks, previous=target), target)
    assert len(found.after) > PAGE_SIZE
    assert {move.task for move in found.moves} == found.after.keys()
    assert all(move.why and move.bytes for move in found.moves)
    read = joined(dict(pages_of(replace(found, number="n"))), TOPIC)
    assert read is not None
    assert read.moves == found.moves


@pytest.mark.slow
def test_a_whole_zone_is_moved_by_one_proposal() -> None:
    """400 hosts with three workers each, and all tasks in one of three zones."""
    zones = ((("az", "a"),), (("az", "b"),), (("az", "c"),))
    sites = {
        f"w{host}-{at}": Site(zones[host % 3], f"h{host}") for host in range(400) for at in range(3)
    }
    crowded = [name for name, site in sites.items() if site.zone == zones[0]]
    tasks = {TaskId(0, number): Load(1_000, 10) for number in range(12_000)}
    target = {task: Copies(crowded[at % len(crowded)]) for at, task in enumerate(tasks)}
    found = proposal(Facts(workers=sites, tasks=tasks, previous=target), target)
    assert len(found.after) >= TASKS
    assert {move.task for move in found.moves} == found.after.keys()
    rows = pages_of(replace(found, number="n"))
    read = joined(dict(rows), TOPIC)
    assert read is not None
    assert (read.id, read.before, read.after) == (found.id, found.before, found.after)
    assert max(len(value or b"") for _, value in rows) < MESSAGE_BYTES_MAX // 4
