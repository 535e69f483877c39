"""Control records: stored samples of the format, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.control.identity import (
    Incarnation,
    fresh_session,
    session_of,
)
from streamer.control.messages import (
    FORMAT,
    AssignmentRecord,
    StandbyReport,
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
    b'"releasing":["0_2"],"ended":true,"refused":["77aa"],"why":"w2 joined",'
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


def test_copies_for_the_next_layout_are_told_apart_from_those_of_this_one() -> None:
    value = (
        b'{"format":1,"number":1,"worker":"w1","incarnation":"9f3c.2","standbys":{"0_1":{}},'
        b'"shadows":{"0_1":{"lag_records":9,"durable":{"totals":4}}},"shadows_of":"fold-1"}'
    )
    record = decode_status("a.status", "w1", value)
    assert record.standbys == {"0_1": StandbyReport()}
    assert record.shadows == {"0_1": StandbyReport(lag_records=9, durable={"totals": 4})}
    assert record.shadows_of == "fold-1"
    assert encode(record) == value
    with pytest.raises(InternalTopicError, match="'0_01' is not a task id"):
        decode_status("a.status", "w1", value.replace(b'"shadows":{"0_1"', b'"shadows":{"0_01"'))


def test_the_format_is_always_written() -> None:
    record = AssignmentRecord(format=FORMAT, version=1, worker="w", incarnation="a.0")
    assert encode(record) == b'{"format":1,"version":1,"worker":"w","incarnation":"a.0"}'


def test_an_unknown_field_of_the_same_format_is_ignored() -> None:
    value = b'{"format":1,"version":1,"worker":"w","incarnation":"a.0","colour":"red"}'
    assert decode_assignment("t", "w", value).version == 1
    value = b'{"format":1,"number":1,"worker":"w","incarnation":"a.0","tasks":{"0_1":{"state":'
    value += b'"running","hue":[1,{}]}},"colour":{"red":null}}'
    assert decode_status("t", "w", value).tasks == {"0_1": TaskReport(state="running")}


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
        (ASSIGNMENT_1[:-1], "'w1' is not a control record"),
        (ASSIGNMENT_1 + b"}", "'w1' is not a control record"),
        (STATUS_1, "'w1' is not a control record"),
        (b"", "'w1' is not a control record"),
        (b'{"format":1,"x":' + b"[" * 100_000, "'w1' is not a control record"),
        (ASSIGNMENT_1.replace(b"9f3c.2", b"9f3c"), "'9f3c' is not an incarnation"),
        (ASSIGNMENT_1.replace(b"9f3c.2", b"9f3c.02"), "'9f3c.02' is not an incarnation"),
        (ASSIGNMENT_1.replace(b'"0_1"', b'"spend"'), "'spend' is not a task id"),
        (ASSIGNMENT_1.replace(b'"0_2"', b'"0_02"'), "'0_02' is not a task id"),
        # Python refuses to read or write numbers of more than 4,300 digits.
        (ASSIGNMENT_1.replace(b"9f3c.2", b"9f3c." + b"1" * 5_000), "is not an incarnation"),
        (ASSIGNMENT_1.replace(b'"0_2"', b'"0_%b"' % (b"1" * 5_000)), "is not a task id"),
        (b'{"format":1,"version":' + b"9" * 4_300 + b"}", "is not a control record"),
        (b'{"format":1,"version":' + b"9" * 5_000 + b"}", "is not a control record"),
        (b'{"format":' + b"9" * 5_000 + b"}", "is not a control record"),
        (b'{"format":1,"version":-1,"worker":"w1","incarnation":"a.0"}', "Expected `int` >= 0"),
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


@pytest.mark.parametrize("field", ["number", "seen", "at_ms", "capacity"])
def test_a_number_that_nobody_can_add_to_is_refused(field: str) -> None:
    for digits in (b"9" * 19, b"9" * 4_300, b"-1"):
        value = b'{"format":1,"number":1,"worker":"w","incarnation":"a.0","%b":%b}'
        with pytest.raises(InternalTopicError, match="'w' is not a control record"):
            decode_status("t", "w", value % (field.encode(), digits))


def test_a_record_of_another_application_is_refused_by_name() -> None:
    own = b'{"format":1,"number":1,"worker":"w","incarnation":"a.0","application":"shop.eu"}'
    assert decode_status("shop.eu.status", "w", own).application == "shop.eu"
    with pytest.raises(InternalTopicError) as refused:
        decode_status("shop.status", "w", own)
    assert str(refused.value).startswith("shop.status: the record of key 'w' is of application")
    granted = b'{"format":1,"version":1,"worker":"w","incarnation":"a.0","application":"spend"}'
    with pytest.raises(InternalTopicError, match="is of application 'spend'"):
        decode_assignment("shop.assignments", "w", granted)
    # A release that did not tell wrote it.
    untold = own.replace(b',"application":"shop.eu"', b"")
    assert decode_status("shop.status", "w", untold).application == ""


# What others may write: other bytes, a record cut short, two records in one, and a record in which
# one value is another one.
damage = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 400), st.just(b"")),
    st.tuples(st.just("put"), st.integers(0, 400), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("flip"), st.integers(0, 400), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just("drop"), st.integers(0, 400), st.binary(min_size=1, max_size=20)),
)


def damaged(value: bytes, kind: str, *, at: int, what: bytes) -> bytes:
    at %= len(value)
    match kind:
        case "cut":
            return value[:at]
        case "put":
            return value[:at] + what + value[at:]
        case "drop":
            return value[:at] + value[at + len(what) :]
    return value[:at] + what + value[at + 1 :]


@pytest.mark.parametrize(
    ("decode", "sample"),
    [(decode_assignment, ASSIGNMENT_1), (decode_status, STATUS_1)],
    ids=["assignment", "status"],
)
@given(changes=st.lists(damage, min_size=1, max_size=3))
def test_a_damaged_record_is_refused_by_its_place_or_is_a_whole_one(
    decode: Callable[[str, str, bytes], AssignmentRecord | StatusRecord],
    sample: bytes,
    changes: list[tuple[str, int, bytes]],
) -> None:
    value = sample
    for kind, at, what in changes:
        value = damaged(value, kind, at=at, what=what) or b" "
    refused = None
    try:
        record = decode("shop.topic", "w1", value)
    except InternalTopicError as error:
        refused = error
    if refused is not None:
        assert str(refused).startswith("shop.topic: the record of key 'w1' ")
        assert refused.hint
        return
    assert (record.format, record.worker) == (FORMAT, "w1")
    assert str(Incarnation.parse(record.incarnation)) == record.incarnation
    assert len(task_ids(tuple(record.tasks))) == len(set(record.tasks))
    # Nothing of it is lost or made up when it is told on.
    assert decode("shop.topic", "w1", encode(record)) == record


@pytest.mark.slow
@given(value=st.binary(max_size=200), key=st.text(max_size=10))
def test_bytes_of_any_kind_are_refused(value: bytes, key: str) -> None:
    for decode in (decode_assignment, decode_status):
        with pytest.raises(InternalTopicError):
            decode("t", key, value)


def test_a_worker_that_can_carry_nothing_is_refused() -> None:
    value = STATUS_1.replace(b'"left":true', b'"capacity":0')
    with pytest.raises(InternalTopicError, match="0 is not a capacity"):
        decode_status("t", "w1", value)


@pytest.mark.parametrize("worker", ["", "w1\0", "w" * 121, "w 1", "../w1"])
def test_who_cannot_be_a_worker_is_refused(worker: str) -> None:
    """One question for such a group would leave those for all others without an answer."""
    value = encode(StatusRecord(format=1, number=1, worker=worker, incarnation="9f3c.0"))
    with pytest.raises(InternalTopicError, match="is not a worker id"):
        decode_status("shop.status", worker, value)


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
