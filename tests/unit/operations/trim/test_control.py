"""Control records as a trim reads them: nothing that cannot be read is passed over."""

from __future__ import annotations

import pytest

from streamer.control.layouts import LAYOUT_KEY, encode_layout, layout_record
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
from streamer.errors import InternalTopicError
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.operations.fake import FakeTable
from streamer.operations.trim.control import _refuse_unseen_layout, told_of
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
        "layout": TOPICS.layout,
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


def test_the_layout_is_told_and_one_that_cannot_be_read_is_not_known() -> None:
    one = SubtopologyLayout(2, Layout(2), {"in": InputLayout(8)})
    layout = ApplicationLayout(Layout(2), {0: one})
    value = encode_layout(layout_record("app", layout))
    assert told(**{f"layout__{LAYOUT_KEY}": value}).layout == layout
    found = told(**{f"layout__{LAYOUT_KEY}": b"{"})
    assert list(found.refused) == ["current in app.layout"]


def test_a_layout_that_is_not_seen_is_not_taken_for_the_first() -> None:
    _refuse_unseen_layout(TOPICS, ["app-a-changelog", "app2-a-changelog.layout-2", "x.layout-2"])
    with pytest.raises(InternalTopicError, match=r"app-a-changelog\.layout-3 is of a later layout"):
        _refuse_unseen_layout(TOPICS, ["app-a-changelog", "app-a-changelog.layout-3"])
