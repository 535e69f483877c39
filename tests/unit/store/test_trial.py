"""Options that RocksDB itself refuses, or takes for others, are found before anything starts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from streamer.config import load
from streamer.errors import ConfigError
from streamer.store import trial
from streamer.store.defaults import DEFAULTS, INDEX_DEFAULTS, ROW_DEFAULTS
from streamer.store.settings import OWNED, settings
from streamer.store.trial import check_topology
from streamer.store.values import is_size
from streamer.topology.app import App
from streamer.topology.stores import Store
from tests.unit.store.test_options import ACCEPTED

# RocksDB takes them together with others only.
INCOMPLETE = ("vector", "hash_skip_list", "plain_table_factory", "cuckoo_table_factory")


@pytest.fixture(autouse=True)
def _cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _check(worker: dict[str, Any], **stores: dict[str, Any]) -> None:
    """Check an application whose stores are all of one task."""
    app = App("ro", rocksdb=worker)
    kept = [Store(name, key=str, value=str, rocksdb=own) for name, own in stores.items()]
    app.stream("in", key=str, value=str).process(lambda record, context: None, stores=kept)
    check_topology(app.topology(), load("ro", keywords=app.settings, environment={}))


def _refused(worker: dict[str, Any], **stores: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        _check(worker, **stores)
    assert "docs/rocksdb-options.md" in caught.value.hint
    return caught.value.message


def test_what_rocksdb_refuses_is_refused_by_the_place_with_its_reason() -> None:
    given = {"memtable_factory": "vector"}
    reason = (
        "Invalid argument: Memtable doesn't concurrent writes (allow_concurrent_memtable_write)"
    )
    said = "memtable_factory = 'vector'"
    assert _refused(given, totals={}) == f"RocksDB refuses App(...): rocksdb: {said}: {reason}"
    assert _refused({"block_size": 4096}, seen={"bloom_filter": 12}, totals=given) == (
        f"RocksDB refuses store totals: {said}: {reason}"
    )
    _check(given, totals={"allow_concurrent_memtable_write": False})


def test_all_options_that_do_not_go_together_are_named_and_no_others() -> None:
    said = _refused({"allow_mmap_reads": True, "block_size": 4096}, a={"use_direct_reads": True})
    assert said.startswith(
        "RocksDB refuses App(...): rocksdb: allow_mmap_reads = True;"
        " store a: use_direct_reads = True: Not implemented: "
    )


@pytest.mark.parametrize(
    ("options", "becomes"),
    [
        ({"max_open_files": -7}, "max_open_files = -7, which becomes 20"),
        ({"num_levels": 1}, "num_levels = 1, which becomes 2"),
        ({"write_buffer_size": 1}, "write_buffer_size = 1, which becomes 65536"),
        ({"write_buffer_size": "1TiB"}, "write_buffer_size = '1TiB', which becomes 68719476736"),
        ({"max_bytes_for_level_multiplier": 0}, "multiplier = 0, which becomes 1.000000"),
        ({"min_write_buffer_number_to_merge": 100}, "merge = 100, which becomes 3"),
        ({"partition_filters": True}, "partition_filters = True, which becomes false"),
        (
            {"level0_slowdown_writes_trigger": 1, "level0_stop_writes_trigger": 0},
            "level0_stop_writes_trigger = 0, which becomes 4",
        ),
    ],
)
def test_what_rocksdb_takes_for_another_value_is_refused_with_that(
    options: dict[str, Any], becomes: str
) -> None:
    said = _refused(options, totals={})
    assert said.startswith("RocksDB does not take App(...): rocksdb: ")
    assert becomes in said
    said = _refused({}, seen={}, totals=options)
    assert said.startswith("RocksDB does not take store totals: ")
    assert becomes in said


def test_an_option_counts_where_no_store_overrules_it() -> None:
    _check({"num_levels": 7, "max_open_files": 50}, a={"num_levels": 5, "max_open_files": 60})
    assert "rocksdb: max_write_buffer_number = 1" in _refused({"max_write_buffer_number": 1}, a={})


@pytest.mark.parametrize("options", ACCEPTED)
def test_plain_values_are_taken_by_rocksdb(options: dict[str, Any]) -> None:
    if not any(word in repr(options) for word in INCOMPLETE):
        _check(options, totals={}, seen=options)
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_the_defaults_are_taken_when_a_user_writes_them_down() -> None:
    defaults = {**DEFAULTS, **ROW_DEFAULTS, **INDEX_DEFAULTS}
    _check(defaults, totals={})
    _check({}, totals=defaults)
    for name, value in defaults.items():
        _check({name: value}, totals={})


@pytest.mark.parametrize(
    "options",
    [
        {"max_open_files": 1_000_000},
        {"max_open_files": -1},
        {"write_buffer_size": "1GiB", "max_write_buffer_number": 6, "block_size": "64KiB"},
        {"target_file_size_base": "1GiB", "max_bytes_for_level_base": "8GiB"},
        {"arena_block_size": 0, "max_compaction_bytes": 0},
        {"max_write_buffer_size_to_maintain": -1, "soft_pending_compaction_bytes_limit": 0},
        {"memtable_prefix_bloom_ratio": 0.123456789, "max_bytes_for_level_multiplier": 7.5},
        {"compaction_style": "universal", "num_levels": 40, "max_subcompactions": 8},
        {"max_background_jobs": 64, "max_total_wal_size": "16GiB", "bytes_per_sync": 0},
        {"level0_file_num_compaction_trigger": 8, "level0_slowdown_writes_trigger": 40},
        {"ratelimiter": [1, 100_000, 10], "use_direct_reads": True},
        {"use_direct_io_for_flush_and_compaction": True, "sync": True},
        {"prepare_for_bulk_load": True, "optimize_for_point_lookup": 512},
    ],
)
def test_large_and_usual_values_are_not_refused(options: dict[str, Any]) -> None:
    _check(options, totals={}, seen=options)


@pytest.mark.slow
@pytest.mark.parametrize("value", [4096, 1 << 20, 1 << 30])
def test_sizes_are_taken_whatever_their_option(value: int) -> None:
    sizes = {name for name, setting in settings().items() if is_size(setting)} - set(OWNED)
    for name in sorted(sizes - {"zstd_max_train_bytes"}):  # needs a dictionary beside it
        least = 65_536 if name == "write_buffer_size" else 0
        _check({name: max(value, least)}, totals={})


def test_nothing_is_opened_where_no_option_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_opened", lambda specs, entries: pytest.fail("opened"))
    _check({}, totals={}, seen={})


def test_tasks_with_the_same_options_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    opened = trial._opened
    monkeypatch.setattr(
        trial,
        "_opened",
        lambda specs, entries: (tried.append(len(specs)), opened(specs, entries))[1],
    )
    app = App("ro", rocksdb={"block_size": 4096})
    for number, own in enumerate([{}, {}, {"bloom_filter": 12}]):
        store = Store(f"s{number}", rocksdb=own)
        app.table(f"in{number}", key=str, value=str, store=store)
    check_topology(app.topology(), load("ro", keywords=app.settings, environment={}))
    assert tried == [1, 1]


def test_a_machine_without_a_temporary_directory_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    _check({"max_open_files": -7}, totals={})
    assert "could not be tried before the start" in caplog.text


def test_the_trial_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _check({"block_size": 4096}, totals={})
    _refused({"memtable_factory": "vector"}, totals={})
    assert not list(tmp_path.iterdir())
