"""Records of operations: stored samples, and what is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.control.operations import (
    FORMAT,
    CancelRecord,
    LockRecord,
    OperationRecord,
    ProgressRecord,
    StepRecord,
    TroubleRecord,
    decode,
    encode,
    operation_key,
)
from streamer.control.plans import Plan, PlannedStep
from streamer.errors import InternalTopicError

PLAN = Plan(format=1, kind="move", steps=(PlannedStep(id="copy", summary="copy it"),))
RECORD = OperationRecord(
    format=FORMAT,
    application="shop",
    id="move-1",
    kind="move",
    plan=PLAN,
    plan_id=PLAN.id,
    state="failed",
    steps=(
        StepRecord(
            id="copy", state="running", begun=2, progress=ProgressRecord(bytes_done=3, eta_s=4)
        ),
    ),
    epoch=7,
    request={"to": 5},
    by="me@here",
    why="room",
    trouble=TroubleRecord(message="no", hint="do", step="copy"),
)
SAMPLE = (
    b'{"format":1,"application":"shop","id":"move-1","kind":"move","plan":{"format":1,'
    b'"kind":"move","steps":[{"id":"copy","summary":"copy it"}]},"plan_id":"%b",'
    b'"state":"failed","steps":[{"id":"copy","state":"running","begun":2,'
    b'"progress":{"bytes_done":3,"eta_s":4}}],"epoch":7,"request":{"to":5},"by":"me@here",'
    b'"why":"room","trouble":{"message":"no","hint":"do","step":"copy"}}'
) % PLAN.id.encode()
LOCK = (
    b'{"format":1,"application":"shop","scope":"application","epoch":7,"operation":"move-1",'
    b'"kind":"move","owner":"me@here:1#ab","lease_ms":30000,"at_ms":5}'
)
CANCEL = b'{"format":1,"application":"shop","operation":"move-1","by":"me","why":"no","at_ms":5}'
KEY = "operation/move-1"


def test_the_stored_samples_are_read_and_written_as_they_were() -> None:
    assert decode(OperationRecord, "shop", key=KEY, value=SAMPLE) == RECORD
    assert encode(RECORD) == SAMPLE
    lock = decode(LockRecord, "shop", key="lock/application", value=LOCK)
    assert encode(lock) == LOCK
    cancel = decode(CancelRecord, "shop", key="cancel/move-1", value=CANCEL)
    assert encode(cancel) == CANCEL


def test_a_plan_has_a_key_of_its_own() -> None:
    planned = encode(msgspec.structs.replace(RECORD, state="planned"))
    assert decode(OperationRecord, "shop", key="plan/move-1", value=planned).state == "planned"
    for key, value in ((KEY, planned), ("plan/move-1", SAMPLE)):
        with pytest.raises(InternalTopicError, match="speaks of"):
            decode(OperationRecord, "shop", key=key, value=value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (SAMPLE.replace(b'"format":1', b'"format":2', 1), "format version 2; this release reads 1"),
        (SAMPLE.replace(b'"plan":{"format":1', b'"plan":{"format":2'), "a plan of format 2"),
        (SAMPLE.replace(b'"shop"', b'"mart"'), "is of application 'mart'"),
        (SAMPLE.replace(b'"move-1"', b'"move-2"'), "speaks of 'operation/move-2'"),
        (SAMPLE.replace(b"copy it", b"copy that"), "a plan that is not the one of its id"),
        (SAMPLE.replace(b'[{"id":"copy","state"', b'[{"id":"cut","state"'), "other steps than"),
        (SAMPLE.replace(b'"failed"', b'"lost"'), "is not a record of an operation"),
        (SAMPLE[:-1], "is not a record of an operation"),
        (b"\xff", "is not a record of an operation"),
        (b'{"format":1,"x":' + b"[" * 100_000, "is not a record of an operation"),
        (SAMPLE.replace(b'"epoch":7', b'"epoch":-7'), "is not a record of an operation"),
        (LOCK, "is not a record of an operation"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_topic_and_key(value: bytes, problem: str) -> None:
    with pytest.raises(InternalTopicError) as refused:
        decode(OperationRecord, "shop", key=KEY, value=value)
    assert "shop.operations: the record of key 'operation/move-1'" in str(refused.value)
    assert problem in str(refused.value)
    assert refused.value.hint


@given(at=st.integers(0, len(SAMPLE) - 1), what=st.binary(max_size=6), cut=st.integers(0, 6))
def test_a_damaged_record_is_refused_or_a_whole_one(at: int, what: bytes, cut: int) -> None:
    value = SAMPLE[:at] + what + SAMPLE[at + cut :]
    try:
        record = decode(OperationRecord, "shop", key=KEY, value=value)
    except InternalTopicError:
        return
    assert record.plan_id == record.plan.id
    assert operation_key(record.id) == KEY
    assert decode(OperationRecord, "shop", key=KEY, value=encode(record)) == record


def test_a_lease_ends_by_the_clock_and_a_lock_without_owner_has_none() -> None:
    lock = decode(LockRecord, "shop", key="lock/application", value=LOCK)
    assert lock.is_live(30_004)
    assert not lock.is_live(30_005)
    assert not msgspec.structs.replace(lock, owner="").is_live(6)
