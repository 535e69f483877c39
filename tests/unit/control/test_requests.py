"""Requests and answers: written with a version, and refused where they cannot be read."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from streamer.control.requests import (
    Answer,
    DrainRecord,
    ModeRecord,
    MoveRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    Request,
    decode,
    encode,
    key_of,
)
from streamer.errors import InternalTopicError

MOVE = MoveRecord(task="0_1", kind="active", source="w1", target="w2", bytes=9, left=4, why="x")
MODE = ModeRecord(name="one_zone_left", concerns=3, examples=("0_1",), until="another", since_ms=5)
SAMPLES = [
    (
        DrainRecord(zones=("az=a",), workers=("w1",), by="me@here", at_ms=7),
        "drain",
        '{"format":1,"zones":["az=a"],"workers":["w1"],"by":"me@here","at_ms":7}',
    ),
    (ProposeRecord(number="n"), "propose", '{"format":1,"number":"n"}'),
    (
        RebalanceRecord(number="n", id="abc"),
        "rebalance",
        '{"format":1,"number":"n","id":"abc"}',
    ),
    (
        ProposalRecord(
            id="abc",
            before={"0_1": ("w1", "w3")},
            after={"0_1": ("w2", "w3")},
            moves=(MOVE,),
            moved_bytes=9,
        ),
        "proposal",
        '{"format":1,"id":"abc","before":{"0_1":["w1","w3"]},"after":{"0_1":["w2","w3"]},'
        '"moves":[{"task":"0_1","kind":"active","source":"w1","target":"w2","bytes":9,"left":4,'
        '"why":"x"}],"moved_bytes":9}',
    ),
    (
        PlanRecord(controller="w1#s1", modes=(MODE,), rebalance=("n", "adopted")),
        "plan",
        '{"format":1,"controller":"w1#s1","modes":[{"name":"one_zone_left","concerns":3,'
        '"examples":["0_1"],"until":"another","since_ms":5}],"rebalance":["n","adopted"]}',
    ),
]


@pytest.mark.parametrize(("record", "key", "text"), SAMPLES)
def test_the_stored_sample_is_read_and_written_as_it_was(
    record: DrainRecord, key: str, text: str
) -> None:
    assert key_of(type(record)) == key
    assert json.loads(encode(record)) == json.loads(text)
    assert decode(type(record), "t", text.encode()) == record


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b'{"format":2,"number":"n"}', "has format version 2; this release reads 1"),
        (b'{"number":"n"}', "is not a control record"),
        (b'{"format":1,"number":5}', "is not a control record"),
        (b"\xff\xfe", "is not a control record"),
        (b'{"format":1,"number":"n"', "is not a control record"),
    ],
)
def test_what_cannot_be_read_is_refused_by_topic_and_key(value: bytes, named: str) -> None:
    with pytest.raises(
        InternalTopicError, match=r"app\.operations: the record of key 'propose'"
    ) as e:
        decode(ProposeRecord, "app.operations", value)
    assert named in str(e.value)
    assert e.value.hint


@pytest.mark.parametrize(("message", "key", "text"), SAMPLES)
def test_one_of_another_application_is_refused_and_one_that_names_none_is_read(
    message: Request | Answer, key: str, text: str
) -> None:
    value = encode(message, "shop")
    read = decode(type(message), "shop.operations", value)
    assert read == replace(message, application="shop")
    with pytest.raises(InternalTopicError, match=f"of key '{key}' is of application 'shop'"):
        decode(type(message), "app.operations", value)
    assert decode(type(message), "app.operations", text.encode()).application == ""
