"""Control records as a trim reads them: nothing that cannot be read is passed over."""

from __future__ import annotations

from streamer.control.messages import AssignmentRecord, StatusRecord, encode
from streamer.control.orders import (
    FORMAT,
    SNAPSHOT_KEY,
    RebuildOrder,
    SnapshotOrder,
    encode_order,
    rebuild_key,
)
from streamer.control.topics import ControlTopics
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.operations.fake import FakeTable
from streamer.operations.trim.control import told_of
from streamer.operations.trim.ports import Told

TOPICS = ControlTopics("app", 1, 1)
STATUS = StatusRecord(format=1, number=1, worker="w1", incarnation="s.0")
GIVEN = AssignmentRecord(format=1, version=1, worker="w1", incarnation="s.0", tasks=("0_0",))


def told(**rows: bytes) -> Told:
    """`kind__key` to bytes."""
    places = {
        "status": TOPICS.statuses()[0],
        "assignment": TOPICS.assignments()[0],
        "order": TOPICS.orders,
    }
    found: dict[tuple[TopicPartition, str], bytes] = {}
    for name, value in rows.items():
        kind, _, key = name.partition("__")
        found[places[kind], key.replace("_of_", "/")] = value
    broker = FakeBroker(partition_of=lambda _key, _count: 0, now_ms=lambda: 0)
    return told_of(TOPICS, found, FakeTable(broker, "app"))


def test_records_are_told_by_their_keys() -> None:
    order = RebuildOrder(format=FORMAT, operation="o", task="0_3", worker="w2")
    found = told(
        status__w1=encode(STATUS),
        assignment__w1=encode(GIVEN),
        order__snapshot=encode_order(SnapshotOrder(format=FORMAT, operation="s")),
        **{f"order__{rebuild_key(TaskId(0, 3)).replace('/', '_of_')}": encode_order(order)},
    )
    assert (found.statuses, found.assignments) == ({"w1": STATUS}, {"w1": GIVEN})
    assert [type(one).__name__ for one in found.orders] == ["SnapshotOrder", "RebuildOrder"]
    assert found.refused == {}
    assert SNAPSHOT_KEY == "snapshot"


def test_what_cannot_be_read_is_told_by_its_key_and_topic() -> None:
    found = told(status__w1=b"{", assignment__w2=b'{"format":9}', order__snapshot=b"[]")
    assert sorted(found.refused) == [
        "snapshot in app.orders",
        "w1 in app.status",
        "w2 in app.assignments",
    ]
    assert "format version 9" in str(found.refused["w2 in app.assignments"])
