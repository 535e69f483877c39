"""Where a task goes on reading: lost positions are told from inputs that are new."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from streamer.changelog.format import PASSED, Positions
from streamer.config import Config
from streamer.errors import InternalTopicError, TaskCorruptedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.kafka.fake import FakeBroker
from streamer.store.closing import Closing
from streamer.task.metadata import Metadata, marks, store_mark
from streamer.topology.partitioner import partition_of
from streamer.topology.stores import Store, StoreKind, StoreSpec
from streamer.worker.positions import Start, resolve_start

TASK = TaskId(0, 0)
OLD, NEW = TopicPartition("old", 0), TopicPartition("new", 0)
SPEC = Store("s", str, int).spec()
NOTE = Metadata(50, marks(["old"], [SPEC])).encode()
RAN = Positions(changelogs={"s": 3}, inputs={OLD: 7}, stream_time_ms=40)


def start(
    committed: dict[TopicPartition, Committed],
    stored: Positions,
    *,
    restored_records: int = 0,
    has_rows: bool = True,
    reset: str = "earliest",
    spec: StoreSpec = SPEC,
    internal: Collection[str] = (),
    grown: Mapping[str, str] = MappingProxyType({}),
) -> Start:
    broker = FakeBroker(partition_of=partition_of, now_ms=lambda: 7)
    for topic in ("old", "new"):
        broker.create(topic, 1)
        producer = broker.producer(None)
        producer.send(topic, [b"k"] * 9, [b"v"] * 9, timestamps=[1] * 9)
        producer.commit({}, None)
    broker.delete_before(NEW, 2)
    reader = broker.reader("app")
    broker.groups["app"] = dict(committed)
    return resolve_start(
        TASK,
        (OLD, NEW),
        reader=reader,
        stored=stored,
        restored_records=restored_records,
        stores=[spec],
        filled=[spec.name] if has_rows else [],
        internal=internal,
        grown=grown,
        config=Config(application_id="app", auto_offset_reset=reset),
    )


@pytest.mark.parametrize(("reset", "position"), [("earliest", 2), ("latest", 9)])
@pytest.mark.parametrize(
    ("note", "stored", "restored"),
    [
        (NOTE, RAN, 0),
        (NOTE, RAN, 5),  # a disk that is behind
        (NOTE, Positions(), 5),  # a disk that was lost: the group knows the inputs
        ("1:50", RAN, 0),  # committed before the inputs were noted: the disk knows them
    ],
)
def test_a_new_input_begins_as_the_reset_policy_says(
    note: str,
    stored: Positions,
    restored: int,
    *,
    reset: str,
    position: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "streamer"):
        found = start({OLD: Committed(8, note)}, stored, restored_records=restored, reset=reset)
    assert found == Start({OLD: 8, NEW: position}, 50, is_new=True)
    assert "task 0_0: new/0 is a new input of an application" in caplog.text
    assert f"offset {position} (auto_offset_reset = {reset})" in caplog.text


def test_a_new_input_needs_a_policy() -> None:
    with pytest.raises(TaskCorruptedError, match="new/0, and auto_offset_reset is none"):
        start({OLD: Committed(8, NOTE)}, RAN, reset="none")


@pytest.mark.parametrize(
    "stored", [Positions(), RAN, Positions(inputs={OLD: 7, NEW: 1}), Positions(inputs={NEW: 1})]
)
def test_a_position_that_the_group_has_lost_is_refused(stored: Positions) -> None:
    """The group knows that the task has read the topic, whatever the disk knows."""
    note = Metadata(50, marks(["new", "old"], [SPEC])).encode()
    with pytest.raises(TaskCorruptedError, match="'app' has no committed offset for new/0") as told:
        start({OLD: Committed(8, note)}, stored, restored_records=5)
    assert "the broker has forgotten it" in told.value.hint


def test_a_topic_that_the_disk_knows_is_not_new() -> None:
    stored = Positions(inputs={OLD: 7, TopicPartition("new", 5): 1})
    with pytest.raises(TaskCorruptedError, match="no committed offset for new/0"):
        start({OLD: Committed(8, "")}, stored)


def test_the_group_tells_the_stream_time_and_the_disk_where_the_group_knows_none() -> None:
    """In a directory of the task's number another subtopology may have lived, with a later time."""
    later = replace(RAN, stream_time_ms=999)
    whole = Metadata(50, marks(["new", "old"], [SPEC])).encode()
    both = {OLD: Committed(8, whole), NEW: Committed(4, whole)}
    assert start(both, later).stream_time_ms == 50
    reset = {OLD: Committed(8, ""), NEW: Committed(4, "")}
    assert start(reset, later).stream_time_ms == 999


def test_all_positions_lost_are_refused_unless_the_disk_has_them() -> None:
    with pytest.raises(TaskCorruptedError, match="no committed offset for old/0"):
        start({}, RAN, restored_records=1)
    with pytest.raises(TaskCorruptedError, match="no committed offset for new/0"):
        start({}, RAN)
    whole = Positions(inputs={OLD: 7, NEW: 4}, stream_time_ms=40)
    assert start({}, whole) == Start({OLD: 7, NEW: 4}, 40, is_new=True)
    # Another worker went on from here since, and its rows were restored: nobody knows how far.
    with pytest.raises(TaskCorruptedError, match="no committed offset for old/0"):
        start({}, replace(whole, inputs={OLD: PASSED, NEW: 4}))


@pytest.mark.parametrize("reset", ["earliest", "latest", "none"])
def test_what_the_application_wrote_for_itself_is_read_from_its_beginning(reset: str) -> None:
    committed = {OLD: Committed(8, NOTE)}
    found = start(committed, Positions(), has_rows=False, reset=reset, internal=["new"])
    assert found.positions == {OLD: 8, NEW: 2}
    whole = Metadata(50, marks(["new", "old"], [SPEC])).encode()
    with pytest.raises(TaskCorruptedError, match="no committed offset for new/0"):
        start({OLD: Committed(8, whole)}, RAN, restored_records=5, internal=["new"])


def test_where_nothing_tells_the_error_says_so() -> None:
    with pytest.raises(TaskCorruptedError, match="no committed offset for new/0") as told:
        start({OLD: Committed(8, "1:50")}, Positions(), restored_records=5)
    assert "nothing tells whether new is a new input or its position was lost" in told.value.hint


def test_a_task_without_state_begins_as_the_policy_says() -> None:
    assert start({}, Positions(), has_rows=False) == Start({OLD: 0, NEW: 2}, -1, is_new=True)


@pytest.mark.parametrize("kind", [StoreKind.WINDOW, StoreKind.SESSION])
def test_a_store_that_became_another_kind_is_refused_though_its_changelog_is_empty(
    kind: StoreKind,
) -> None:
    wanted = f"store s of task 0_0 was a key-value store .* now makes it a {kind.value} store"
    with pytest.raises(InternalTopicError, match=wanted):
        start({OLD: Committed(8, NOTE)}, RAN, has_rows=False, spec=replace(SPEC, kind=kind))
    other = replace(SPEC, kind=kind, name="t")
    assert start({OLD: Committed(8, NOTE)}, RAN, has_rows=False, spec=other).positions[OLD] == 8
    assert len({store_mark("s", each) for each in StoreKind}) == len(StoreKind)


def test_a_windowed_store_goes_on_with_its_own_time() -> None:
    spec = replace(SPEC, kind=StoreKind.WINDOW)
    mark = store_mark("s", StoreKind.WINDOW)

    def note(time_ms: int, own: dict[str, int], *stores: StoreSpec) -> Committed:
        return Committed(8, Metadata(time_ms, marks(["old", "new"], stores), own).encode())

    def own_time(
        one: Committed, other: Committed, stored: Positions = RAN, *, has_rows: bool = True
    ) -> int:
        found = start({OLD: one, NEW: other}, stored, spec=spec, has_rows=has_rows)
        assert found.stream_time_ms == 50
        return found.times["s"]

    # Of positions that were committed at different times the later one tells.
    assert own_time(note(50, {mark: 20}, spec), note(40, {mark: 30}, spec)) == 30
    assert own_time(note(50, {mark: -1}, spec), note(40, {mark: -1}, spec)) == -1
    # The disk knows it too.
    assert own_time(note(50, {}), note(40, {}), replace(RAN, times={"s": 25})) == 25
    # Written before stores had times: what closed its windows was the task's.
    assert own_time(note(50, {}, spec), note(40, {}, spec), has_rows=False) == 50
    # Nothing is known: rows were closed by the task's time, and a store without them is new.
    assert own_time(note(50, {}), note(40, {})) == 50
    assert own_time(note(50, {}), note(40, {}), has_rows=False) == -1


@pytest.mark.parametrize(
    ("notes", "stored", "expected"),
    [
        ([(50, Closing(10, 3))], None, Closing(10, 3)),
        # The partition without new records kept its metadata.
        ([(50, Closing(10, 3)), (40, None)], None, Closing(10, 3)),
        ([(50, Closing(10, 3)), (50, Closing(10, 9))], (50, Closing(9, 99)), Closing(10, 9)),
        # A disk that was left behind, one that a crash kept from the last commit's write.
        ([(50, None)], (40, Closing(10, 3)), None),
        ([(50, Closing(20, 0))], (50, Closing(10, 3)), Closing(20, 0)),
        ([(50, None)], (50, Closing(10, 3)), None),
        ([], (50, Closing(10, 3)), Closing(10, 3)),
    ],
)
def test_what_had_closed_is_passed_on_from_where_the_last_commit_came(
    notes: list[tuple[int, Closing | None]],
    stored: tuple[int, Closing | None] | None,
    expected: Closing | None,
) -> None:
    spec = replace(SPEC, kind=StoreKind.WINDOW)
    mark = store_mark("s", StoreKind.WINDOW)
    known = marks(["old", "new"], [spec])
    texts = [Metadata(60, known, {mark: time}, {mark: place}).encode() for time, place in notes]
    committed = {
        place: Committed(8, text) for place, text in zip((OLD, NEW), texts, strict=False)
    } or {}
    disk = Positions(inputs={OLD: 7, NEW: 7})
    if stored is not None:
        disk = replace(disk, times={"s": stored[0]}, closings={"s": stored[1]})
    found = start(committed, disk, spec=spec)
    assert found.closings == ({} if expected is None else {"s": expected})


def test_where_strays_may_be_the_disk_alone_does_not_tell_a_position() -> None:
    """It does not know up to where they were forwarded: some would be twice."""
    whole = Positions(inputs={OLD: 7, NEW: 4}, stream_time_ms=40)
    with pytest.raises(TaskCorruptedError, match="no committed offset for old/0"):
        start({}, whole, grown={"old": "new"})
    known = marks(["new", "old"], [SPEC])
    older = Metadata(50, known, forwarded={"a": 5, "b": 9}, stray_ms=70).encode()
    newer = Metadata(50, known, forwarded={"a": 8}, stray_ms=60).encode()
    both = {OLD: Committed(8, older), NEW: Committed(4, newer)}
    found = start(both, whole, grown={"old": "new"})
    assert (found.forwarded, found.stray_ms) == ({"a": 8, "b": 9}, 70)


@pytest.mark.parametrize("reset", ["earliest", "latest", "none"])
def test_a_partition_that_came_with_the_layout_is_read_from_its_begin(reset: str) -> None:
    """`old` has strays of the topic `new`. No position can be committed of what is not there."""
    committed = {OLD: Committed(0, Metadata(50, marks(["old"], [SPEC])).encode())}
    found = start(committed, Positions(), reset=reset, grown={"new": "old"})
    assert (found.positions, found.is_new) == ({OLD: 0, NEW: 2}, True)
    read = {OLD: Committed(0, Metadata(50, marks(["old", "new"], [SPEC])).encode())}
    with pytest.raises(TaskCorruptedError, match="no committed offset for new/0"):
        start(read, Positions(), reset=reset, grown={"new": "old"})


def test_whether_strays_are_expected_is_known_wherever_a_task_goes_on() -> None:
    known = marks(["new", "old"], [SPEC])
    before = Committed(8, Metadata(50, known).encode())
    after = Committed(4, Metadata(50, known, is_quiet=True).encode())
    found = start({OLD: before, NEW: after}, Positions(), grown={"old": "new"})
    assert found.is_quiet
