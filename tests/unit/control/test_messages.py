"""Control records: stored samples of the format, and what is refused."""

from __future__ import annotations

import pytest

from streamer.control.identity import (
    Incarnation,
    client_id,
    fresh_session,
    session_of,
    worker_and_session,
)
from streamer.control.messages import (
    FORMAT,
    AssignmentRecord,
    StatusRecord,
    TaskReport,
    decode_assignment,
    decode_status,
    encode,
    task_ids,
    task_names,
)
from streamer.errors import InternalTopicError
from streamer.ids import TaskId

# As written by the first release that had this format: these must be readable for ever.
ASSIGNMENT_1 = (
    b'{"format":1,"version":7,"worker":"w1","incarnation":"9f3c.2","tasks":["0_1","1_0"],'
    b'"releasing":["0_2"],"ended":true,"refused":["77aa"],"why":"w2 joined","controller":"w2#1b",'
    b'"at_ms":1700000000000}'
)
STATUS_1 = (
    b'{"format":1,"number":12,"worker":"w1","incarnation":"9f3c.2","seen":7,"tasks":{"0_1":'
    b'{"state":"running","lag_records":5,"positions":{"in/1":40}},"0_2":{"state":"restoring",'
    b'"restore_left_records":900}},"left":true,"zone":"az=a","address":"h:80","at_ms":1}'
)


def test_the_stored_assignment_is_read_and_written_as_it_was() -> None:
    record = decode_assignment("a.assignments", "w1", ASSIGNMENT_1)
    assert record == AssignmentRecord(
        format=1,
        version=7,
        worker="w1",
        incarnation="9f3c.2",
        tasks=("0_1", "1_0"),
        releasing=("0_2",),
        ended=True,
        refused=("77aa",),
        why="w2 joined",
        controller="w2#1b",
        at_ms=1_700_000_000_000,
    )
    assert encode(record) == ASSIGNMENT_1


def test_the_stored_status_is_read_and_written_as_it_was() -> None:
    record = decode_status("a.status", "w1", STATUS_1)
    assert record == StatusRecord(
        format=1,
        number=12,
        worker="w1",
        incarnation="9f3c.2",
        seen=7,
        tasks={
            "0_1": TaskReport(state="running", lag_records=5, positions={"in/1": 40}),
            "0_2": TaskReport(state="restoring", restore_left_records=900),
        },
        left=True,
        zone="az=a",
        address="h:80",
        at_ms=1,
    )
    assert encode(record) == STATUS_1


def test_the_format_is_always_written() -> None:
    record = AssignmentRecord(format=FORMAT, version=1, worker="w", incarnation="a.0")
    assert encode(record) == b'{"format":1,"version":1,"worker":"w","incarnation":"a.0"}'


def test_an_unknown_field_of_the_same_format_is_ignored() -> None:
    value = b'{"format":1,"version":1,"worker":"w","incarnation":"a.0","colour":"red"}'
    assert decode_assignment("t", "w", value).version == 1


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b'{"format":2,"shape":"unknown"}', "'w1' has format version 2; this release reads 1"),
        (b"not json", "'w1' is not a control record"),
        (b'{"version":1}', "'w1' is not a control record"),
        (b'{"format":1,"version":"x"}', "'w1' is not a control record"),
        (
            b'{"format":1,"version":1,"worker":"w2","incarnation":"a.0"}',
            "'w1' speaks of worker 'w2'",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_by_topic_key_and_version(
    value: bytes, problem: str
) -> None:
    with pytest.raises(InternalTopicError) as refused:
        decode_assignment("shop.assignments", "w1", value)
    assert "shop.assignments" in str(refused.value)
    assert problem in str(refused.value)
    assert refused.value.hint


def test_tasks_are_named_in_their_order() -> None:
    tasks = frozenset({TaskId(1, 0), TaskId(0, 10), TaskId(0, 9)})
    assert task_names(tasks) == ("0_9", "0_10", "1_0")
    assert task_ids(task_names(tasks)) == tasks


def test_incarnations_count_up_within_a_session() -> None:
    first = Incarnation.parse("9f3c.0")
    assert str(first.next()) == "9f3c.1"
    assert first < first.next()
    assert session_of("9f3c.17") == "9f3c"
    assert fresh_session() != fresh_session()
    for text in ("9f3c", "9f3c.", ".1", "9f3c.x"):
        with pytest.raises(InternalTopicError, match="is not an incarnation"):
            Incarnation.parse(text)


def test_a_member_that_is_no_worker_is_left_out() -> None:
    assert worker_and_session(client_id("w-1.a", "9f3c")) == ("w-1.a", "9f3c")
    for client in ("rdkafka", "#9f3c", "w1#", ""):
        assert worker_and_session(client) is None
