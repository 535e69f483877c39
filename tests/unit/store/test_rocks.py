from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer import failpoints
from streamer.errors import InvariantError, StateDirectoryError
from streamer.failpoints import InjectedError
from streamer.store.keys import row, session_key
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import StoreKind

Open = Callable[..., TaskDatabase]


def rows(count: int, *, value: bytes = b"v") -> list[tuple[bytes, bytes | None]]:
    return [(b"k%06d" % index, value) for index in range(count)]


def keys_of(found: Any) -> list[bytes]:
    return [key for key, _row in found]


def test_rows_come_back_in_the_order_of_the_keys_asked_for(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database.write({"plain": [(b"a", b"1"), (b"b", b""), (b"c", b"3"), (b"c", None)]}, {})
    assert database.get_many("plain", [b"b", b"x", b"a", b"b", b"c"]) == [
        b"",
        None,
        b"1",
        b"",
        None,
    ]
    assert database.get_many("plain", []) == []
    assert database.get("plain", b"a") == b"1"


def test_stores_do_not_see_each_other(open_database: Open, specs: Any) -> None:
    other = replace(specs.plain, name="default")
    database = open_database(specs.plain, other)
    database.write({"plain": [(b"a", b"1")], "default": [(b"a", b"2")]}, {"a": b"3"})
    assert database.get("plain", b"a") == b"1"
    assert database.get("default", b"a") == b"2"
    assert database.metadata() == {"a": b"3"}


def test_a_store_that_the_task_does_not_have_is_our_own_mistake(
    open_database: Open, specs: Any
) -> None:
    database = open_database(specs.plain)
    with pytest.raises(InvariantError, match="task 0_3 has no store other"):
        database.get("other", b"a")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (b"", None, [0, 1, 2, 3, 4]),
        (b"k000001", b"k000003", [1, 2]),
        (b"k000001\x00", None, [2, 3, 4]),
        (b"", b"k000000", []),
        (b"k000009", None, []),
        (b"k000003", b"k000001", []),
        (b"a", b"z", [0, 1, 2, 3, 4]),
    ],
)
def test_a_scan_has_its_start_and_not_its_end_in_both_directions(
    open_database: Open, specs: Any, start: bytes, end: bytes | None, expected: list[int]
) -> None:
    database = open_database(specs.plain)
    database.write({"plain": rows(5)}, {})
    wanted = [b"k%06d" % index for index in expected]
    assert keys_of(database.scan("plain", start, end)) == wanted
    assert keys_of(database.scan("plain", start, end, reverse=True)) == wanted[::-1]


@pytest.mark.parametrize("count", [15, 16, 17, 48, 5_000])
def test_a_scan_of_any_length_is_complete(open_database: Open, specs: Any, count: int) -> None:
    database = open_database(specs.plain)
    database.write({"plain": rows(count)}, {})
    assert keys_of(database.scan("plain", b"", None)) == keys_of(rows(count))
    assert keys_of(database.scan("plain", b"", None, reverse=True)) == keys_of(rows(count))[::-1]


def test_a_scan_sees_the_state_of_its_beginning(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database.write({"plain": rows(2_000)}, {})
    scan = database.scan("plain", b"", None)
    assert next(scan)[1] == b"v"
    database.write({"plain": [(key, b"new") for key, _row in rows(2_000)]}, {})
    database.write({"plain": [(key, None) for key, _row in rows(1_000)]}, {})
    assert [value for _key, value in scan] == [b"v"] * 1_999
    assert len(list(database.scan("plain", b"", None))) == 1_000


def test_ttl_rows_are_indexed_by_the_bucket_of_their_time(open_database: Open, specs: Any) -> None:
    database = open_database(specs.ttl)
    database.write({"ttl": [(b"a", row(1_500, b"1")), (b"b", row(2_000, b"2"))]}, {})
    database.write({"ttl": [(b"a", row(1_999, b"3"))]}, {})
    index = [int.to_bytes(1_000, 8, "big") + b"a", int.to_bytes(2_000, 8, "big") + b"b"]
    assert keys_of(database.scan("ttl", b"", None, index=True)) == index
    database.delete_index("ttl", index[:1])
    assert keys_of(database.scan("ttl", b"", None, index=True)) == index[1:]
    assert keys_of(database.scan("ttl", b"", None)) == [b"a", b"b"]


def test_a_removed_session_leaves_the_index_too(open_database: Open, specs: Any) -> None:
    database = open_database(specs.sessions)
    first, second = session_key(b"k", 10, 20), session_key(b"k", 10, 35)
    database.write({"sessions": [(first, row(20, b"1"))]}, {})
    database.write({"sessions": [(first, None), (second, row(35, b"2"))]}, {})
    assert keys_of(database.scan("sessions", b"", None)) == [second]
    entry = int.to_bytes(35, 8, "big") + second
    assert keys_of(database.scan("sessions", b"", None, index=True)) == [entry]


def test_large_changes_go_in_chunks_and_the_metadata_goes_last(
    open_database: Open, specs: Any
) -> None:
    database = open_database(specs.plain, specs.ttl)
    seen: list[tuple[int, dict[str, bytes]]] = []

    def look() -> None:
        seen.append((len(list(database.scan("plain", b"", None))), database.metadata()))

    with failpoints.armed("commit.between_store_chunks", look):
        database.write({"plain": rows(25_000), "ttl": [(b"t", row(1, b""))]}, {"position": b"7"})
    assert len(seen) >= 2
    assert seen[0][0] < seen[-1][0] <= 25_000
    assert all(metadata == {} for _count, metadata in seen)
    assert database.metadata() == {"position": b"7"}
    assert len(list(database.scan("plain", b"", None))) == 25_000


def test_chunks_are_bounded_in_bytes_too(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    hits: list[int] = []
    with failpoints.armed("commit.between_store_chunks", lambda: hits.append(1)):
        database.write({"plain": rows(3_000, value=bytes(5_000))}, {})
    assert len(hits) >= 2


def test_a_failure_between_chunks_leaves_the_metadata_as_it_was(
    open_database: Open, specs: Any
) -> None:
    database = open_database(specs.plain)
    database.write({}, {"position": b"1"})
    with (
        failpoints.armed("commit.between_store_chunks", "error"),
        pytest.raises(InjectedError),
    ):
        database.write({"plain": rows(25_000)}, {"position": b"2"})
    assert database.metadata() == {"position": b"1"}


def test_reserved_metadata_names_are_refused(open_database: Open, specs: Any) -> None:
    with pytest.raises(ValueError, match="must not begin with @"):
        open_database(specs.plain).write({}, {"@format": b"9"})


@pytest.mark.parametrize("round_", range(3))
def test_it_can_be_opened_again_at_once(open_database: Open, specs: Any, round_: int) -> None:
    for attempt in range(3):
        database = open_database(specs.plain, specs.ttl)
        assert database.metadata() == ({"n": b"%d" % (attempt - 1)} if attempt else {})
        database.write({"plain": rows(10)}, {"n": b"%d" % attempt})
        scan = database.scan("plain", b"", None)
        next(scan)
        database.flush()
        database.gauges()
        database.close()
        database.close()


def test_a_store_that_left_the_topology_is_kept_and_reported(
    open_database: Open, specs: Any
) -> None:
    database = open_database(specs.plain, specs.ttl)
    database.write({"ttl": [(b"a", row(1, b"x"))]}, {})
    assert database.found.unknown_stores == ()
    database.close()
    database = open_database(specs.plain)
    assert database.found.unknown_stores == ("ttl",)
    database.close()
    database = open_database(specs.plain, specs.ttl)
    assert database.found.unknown_stores == ()
    assert database.get("ttl", b"a") == row(1, b"x")
    assert len(list(database.scan("ttl", b"", None, index=True))) == 1


def test_a_store_that_is_given_a_ttl_has_its_rows_indexed(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    stored = [(key, row(index, b"")) for index, (key, _row) in enumerate(rows(12_000))]
    database.write({"plain": stored}, {})
    database.close()
    with_ttl = replace(specs.plain, ttl_ms=64_000)
    database = open_database(with_ttl)
    index = keys_of(database.scan("plain", b"", None, index=True))
    assert len(index) == 12_000
    assert index[-1] == int.to_bytes(11_000, 8, "big") + b"k011999"
    database.close()
    # Without it for a while: the index is stale then, and is built anew.
    database = open_database(specs.plain)
    database.write({"plain": [(b"late", row(64_000, b""))]}, {})
    database.close()
    database = open_database(with_ttl)
    assert len(list(database.scan("plain", b"", None, index=True))) == 12_001


def test_an_index_that_was_not_finished_is_built_again(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database.write({"plain": [(key, row(1, b"")) for key, _row in rows(10)]}, {})
    database.close()
    with_ttl = replace(specs.plain, ttl_ms=64_000)
    database = open_database(with_ttl)
    # As a crash leaves it: the family is there, the record that it is complete is not.
    database._write({}, {b"@store.plain": b"key-value"})
    database.delete_index("plain", keys_of(database.scan("plain", b"", None, index=True))[:5])
    database.close()
    database = open_database(with_ttl)
    assert len(list(database.scan("plain", b"", None, index=True))) == 10


def test_rows_of_another_kind_are_refused_with_both_kinds(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database.write({"plain": [(b"a", row(1, b"x"))]}, {})
    database.close()
    other = replace(specs.plain, kind=StoreKind.SESSION, retention_ms=1)
    with pytest.raises(StateDirectoryError, match=r"plain .* is a key-value store, .* session"):
        open_database(other)
    # The refusal leaves nothing open.
    open_database(specs.plain)


def test_a_store_that_never_held_a_row_may_become_one_of_another_kind(
    open_database: Open, specs: Any
) -> None:
    """A restore that was refused because of its kind does not stand in the way of the old one."""
    other = replace(specs.plain, kind=StoreKind.SESSION, retention_ms=1)
    open_database(other).close()
    database = open_database(specs.plain)
    assert list(database.scan("plain", b"", None)) == []
    database.write({}, {"changelog/plain": b"7"})
    database.close()
    with pytest.raises(StateDirectoryError, match=r"plain .* is a key-value store, .* session"):
        open_database(other)


def test_another_format_is_refused_with_both_versions(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database._write({}, {b"@format": b"2"})
    database.close()
    with pytest.raises(StateDirectoryError, match=r"has format 2, this version .* reads format 1"):
        open_database(specs.plain)


def test_a_second_opening_is_refused(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    with pytest.raises(StateDirectoryError, match="is open elsewhere"):
        open_database(specs.plain)
    database.write({"plain": [(b"a", b"1")]}, {})
    assert database.get("plain", b"a") == b"1"


def test_loaded_rows_replace_and_remove_older_ones(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database.write({"plain": [(b"a", b"old"), (b"b", b"old")]}, {})
    database.ingest("plain", {b"c": b"new", b"a": b"new", b"b": None, b"d": None})
    assert list(database.scan("plain", b"", None)) == [(b"a", b"new"), (b"c", b"new")]
    database.write({"plain": [(b"a", b"newest")]}, {})
    assert database.get("plain", b"a") == b"newest"


def test_loading_only_removals_into_an_empty_store_is_nothing(
    open_database: Open, specs: Any
) -> None:
    database = open_database(specs.plain)
    database.ingest("plain", {b"a": None})
    database.ingest("plain", {})
    assert list(database.scan("plain", b"", None)) == []


def test_loaded_rows_are_indexed(open_database: Open, specs: Any, tmp_path: Path) -> None:
    database = open_database(specs.ttl, specs.sessions)
    database.ingest("ttl", {b"k%d" % index: row(index * 1_000, b"") for index in range(20)})
    assert len(list(database.scan("ttl", b"", int.to_bytes(5_000, 8, "big"), index=True))) == 5
    old, new = session_key(b"k", 1, 2), session_key(b"k", 1, 3)
    database.ingest("sessions", {old: row(2, b"")})
    database.ingest("sessions", {old: None, new: row(3, b"")})
    entry = int.to_bytes(3, 8, "big") + new
    assert keys_of(database.scan("sessions", b"", None, index=True)) == [entry]
    assert list((tmp_path / "0_3" / "ingest").iterdir()) == []


def test_one_row_among_deleted_ones_is_a_row(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    assert not database.has_rows("plain")
    database.write({"plain": rows(100)}, {})
    database.flush()
    database.write({"plain": [(key, None) for key, _row in rows(100)[1:]]}, {})
    database.write({"plain": [(b"absent", None)]}, {})
    assert database.approximate_rows("plain") <= 1
    assert database.has_rows("plain")


def test_sizes_and_gauges_tell_of_what_is_there(
    open_database: Open, specs: Any, pool: MemoryPool
) -> None:
    database = open_database(specs.plain, enable_statistics=True)
    empty = database.size_bytes()
    database.write({"plain": rows(10_000, value=bytes(100))}, {})
    assert database.size_bytes() > empty + 1_000_000
    assert database.approximate_rows("plain") == 10_000
    assert database.has_rows("plain")
    assert database.memtable_bytes() <= pool.gauges()["write_buffer_bytes"] + 64 * 1024
    database.flush()
    gauges = database.gauges()
    assert gauges["estimated_keys"] == 10_002  # two records of its own
    assert gauges["level0_files"] >= 1
    assert gauges["live_files_bytes"] > 10_000
    assert gauges["background_errors"] == 0
    assert gauges["stall_micros"] == 0


def test_a_scan_ends_where_it_was_told_though_nobody_keeps_its_end(
    open_database: Open, specs: Any
) -> None:
    database = open_database(specs.plain)
    database.write({"plain": [(b"%05d" % n, row(1, b"v")) for n in range(1000)]}, {})
    for turn in range(50):
        scans = [database.scan("plain", b"00100", b"%05d" % (500 + n)) for n in range(3)]
        first = [next(scan)[0] for scan in scans]
        junk = [bytes([turn]) * size for size in range(60)] + [bytes(9) for _ in range(60)]
        assert len(junk) == 120
        assert first == [b"00100"] * 3
        assert [len(list(scan)) + 1 for scan in scans] == [400, 401, 402]
