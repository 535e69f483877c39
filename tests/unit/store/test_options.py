from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rocksdict

from streamer.config import load
from streamer.errors import ConfigError
from streamer.store.defaults import DATABASE_WIDE, DEFAULTS, INDEX_DEFAULTS, ROW_DEFAULTS
from streamer.store.options import check, check_stores
from streamer.store.reference import page
from streamer.store.rocks import TaskDatabase
from streamer.store.settings import ALIASES, OWNED, UNUSABLE, settings

Open = Callable[..., TaskDatabase]


def effective(directory: Path, section: str) -> dict[str, str]:
    """What RocksDB itself wrote down as its options, newest file, one section."""
    newest = max(directory.glob("OPTIONS-*"), key=lambda file: file.name)
    body = newest.read_text().partition(f"[{section}]")[2].partition("\n[")[0]
    return dict(re.findall(r"^\s*(\w+)=(.*)$", body, re.MULTILINE))


ACCEPTED: list[dict[str, Any]] = [
    {"compression_type": "zstd"},
    {"compression": "lz4hc"},
    {"bloom_filter": 12.5},
    {"bloom_filter": [10, True]},
    {"compression_per_level": ["none", "lz4", "zstd"]},
    {"prefix_extractor": {"create_fixed_prefix": 8}},
    {"prefix_extractor": "create_noop"},
    {"compaction_style": "universal"},
    {"universal_compaction_options": {"size_ratio": 2, "stop_style": "total"}},
    {"memtable_factory": "vector"},
    {
        "memtable_factory": {
            "hash_skip_list": {"bucket_count": 1, "height": 2, "branching_factor": 3}
        }
    },
    {"compression_options": [-14, 3, 0, 0]},
    {"compression_options": {"w_bits": 1, "level": 2, "strategy": 3, "max_dict_bytes": 4}},
    {"plain_table_factory": {"user_key_length": 8, "encoding_type": "plain"}},
    {"cuckoo_table_factory": {"hash_ratio": 0.5}},
    {"max_bytes_for_level_multiplier": 8},
    {"sync": True, "fill_cache": False, "enable_statistics": False},
    {"optimize_for_point_lookup": 64},
    {"write_buffer_size": "4194304", "max_open_files": "-1", "bloom_filter": "10"},
    {"blob_gc_age_cutoff": "0.5", "sync": "true", "compression_options": "[-14, 3, 0, 0]"},
    {"universal_compaction_options": '{"size_ratio": 2}', "db_log_dir": "12"},
]


@pytest.mark.parametrize("options", ACCEPTED)
def test_plain_values_are_accepted(options: Mapping[str, Any]) -> None:
    check(options, "store totals")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"write_bufer_size": 1}, "has no option 'write_bufer_size'", "mean write_buffer_size?"),
        (
            {"level0_file_num_compaction": 1},
            "has no option 'level0_file_num_compaction'",
            "mean level0_file_num_compaction_trigger?",
        ),
        ({"zzz": 1}, "has no option 'zzz'", "docs/rocksdb-options.md"),
        ({"write_buffer_size": "8Q"}, "write_buffer_size = '8Q' is wrong", "lists every option"),
        ({"write_buffer_size": "8Q"}, "it takes bytes, such as 4MiB", ""),
        ({"max_open_files": "4MiB"}, "it takes a whole number, not '4MiB'", ""),
        ({"wal_size_limit_mb": "4MiB"}, "it takes a whole number, not '4MiB'", ""),
        ({"optimize_for_point_lookup": "4MiB"}, "it takes a whole number, not '4MiB'", ""),
        ({"memtable_prefix_bloom_ratio": "much"}, "it takes a number, not 'much'", ""),
        ({"disable_auto_compactions": "1"}, "it takes true or false, not '1'", ""),
        ({"write_buffer_size": -1}, "can't convert negative int", ""),
        ({"write_buffer_size": 2**70}, "int too big", ""),
        ({"write_buffer_size": 1.5}, "cannot be interpreted as an integer", ""),
        ({"write_buffer_size": True}, "it takes a number, not True", ""),
        ({"block_size": 3}, "it takes a number of 256 or more", ""),
        ({"target_file_size_base": 0}, "it takes a number of 4096 or more", ""),
        ({"num_levels": -7}, "it takes a number of 1 or more, 100 at most", ""),
        ({"num_levels": 1 << 20}, "it takes a number of 1 or more, 100 at most", ""),
        ({"increase_parallelism": 1 << 20}, "it takes a number of 1 or more, 1024 at most", ""),
        ({"min_level_to_compress": 100}, "it takes a number of 0 or more, 7 at most", ""),
        ({"table_cache_num_shard_bits": 20}, "it takes a number of -1 or more, 19 at most", ""),
        ({"max_bytes_for_level_multiplier": float("nan")}, "it takes a finite number", ""),
        ({"memtable_factory": {"hash_link_list": {"bucket_count": 0}}}, "bucket_count of 1", ""),
        ({"memtable_factory": {"hash_skip_list": [0, 2, 3]}}, "bucket_count of 1", ""),
        ({"disable_auto_compactions": 1}, "it takes true or false, not 1", ""),
        ({"sync": 1}, "it takes true or false, not 1", ""),
        ({"enable_statistics": "yes"}, "it is a switch: true or false", ""),
        ({"compression_type": "gzip"}, "not one of bz2, lz4, lz4hc, none", ""),
        ({"compression_type": 4}, "takes a DBCompressionType by name", ""),
        ({"compression_type": "zlib"}, "zlib is not compiled in", ""),
        ({"compaction_style": "fifo"}, "fifo deletes old rows", ""),
        ({"bloom_filter": "big"}, "it takes bits_per_key, block_based", ""),
        ({"compression_options": [1]}, "it takes w_bits, level, strategy", ""),
        ({"prefix_extractor": {"create_fixed_prefix": "a"}}, "prefix_extractor", ""),
        ({"universal_compaction_options": {"siz": 2}}, "has no 'siz', only", ""),
        ({"universal_compaction_options": {"size_ratio": "a"}}, "size_ratio: ", ""),
        ({"disable_wal": True}, "disable_wal cannot be set: without the log", "remove disable_wal"),
    ],
)
def test_what_is_wrong_is_refused_with_store_option_and_way_out(
    options: Mapping[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(options, "store totals")
    assert caught.value.message.startswith("store totals: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", sorted(OWNED))
def test_owned_options_exist_and_are_refused_with_the_reason(name: str) -> None:
    assert name in settings()
    with pytest.raises(ConfigError, match=re.escape(OWNED[name])):
        check({name: True}, "store totals")


def test_the_lists_of_names_name_options_that_exist() -> None:
    known = set(settings()) - set(OWNED)
    assert set(ALIASES.values()) <= known
    assert not set(ALIASES) & set(settings())
    assert known >= DATABASE_WIDE
    assert known >= set(DEFAULTS) | set(INDEX_DEFAULTS) | set(ROW_DEFAULTS)
    assert len(known) > 100


def test_every_option_is_documented_with_what_it_takes() -> None:
    text = page("")
    for name in settings():
        assert f"| `{name}`" in text
    assert "| `block_size` | size | 8192 |" in text
    assert "| `compression_type` | `bz2`, `lz4`, `lz4hc`, `none`, `snappy`, `zstd` | lz4 |" in text
    assert "| `anything` |" not in text


def test_text_from_any_source_reaches_rocksdb(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    (tmp_path / "given.toml").write_text('[streamer.rocksdb]\nblock_size = "16KiB"\n')
    config = load(
        "spend",
        file=tmp_path / "given.toml",
        environment={"STREAMER_ROCKSDB__MAX_WRITE_BUFFER_NUMBER": "3"},
        sets=["rocksdb.write_buffer_size=4194304", "rocksdb.use_fsync=true"],
    )
    open_database(specs.plain, **config.rocksdb).close()
    family = effective(tmp_path / "0_3", 'CFOptions "store.plain"')
    assert family["max_write_buffer_number"] == "3"
    assert family["write_buffer_size"] == "4194304"
    table = effective(tmp_path / "0_3", 'TableOptions/BlockBasedTable "store.plain"')
    assert table["block_size"] == "16384"
    assert effective(tmp_path / "0_3", "DBOptions")["use_fsync"] == "true"


def test_stores_agree_whatever_form_their_values_have(specs: Any) -> None:
    one = replace(specs.plain, rocksdb={"bytes_per_sync": "2MiB"})
    other = replace(specs.ttl, rocksdb={"bytes_per_sync": 2 << 20})
    check_stores([one, other], {})
    with pytest.raises(ConfigError, match="but a database has one"):
        check_stores([one, replace(other, rocksdb={"bytes_per_sync": "3MiB"})], {})


def test_defaults_reach_rocksdb(open_database: Open, specs: Any, tmp_path: Path) -> None:
    open_database(specs.plain, specs.ttl).close()
    family = effective(tmp_path / "0_3", 'CFOptions "store.plain"')
    assert family["write_buffer_size"] == str(8 << 20)
    assert family["compression"] == "kLZ4Compression"
    assert family["compaction_style"] == "kCompactionStyleLevel"
    table = effective(tmp_path / "0_3", 'TableOptions/BlockBasedTable "store.plain"')
    assert table["block_size"] == "8192"
    assert table["filter_policy"].startswith("bloomfilter")
    assert table["cache_index_and_filter_blocks"] == "true"
    database = effective(tmp_path / "0_3", "DBOptions")
    assert database["max_total_wal_size"] == str(64 << 20)
    assert database["max_open_files"] == "128"
    assert database["keep_log_file_num"] == "2"
    index = effective(tmp_path / "0_3", 'CFOptions "index.ttl"')
    assert index["write_buffer_size"] == str(8 << 20)


def test_a_stores_options_win_over_the_workers_over_the_defaults(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    own = replace(specs.plain, rocksdb={"compression": "zstd", "max_open_files": 77})
    open_database(own, specs.ttl, compression_type="none", block_size=16384).close()
    directory = tmp_path / "0_3"
    assert effective(directory, 'CFOptions "store.plain"')["compression"] == "kZSTD"
    assert effective(directory, 'CFOptions "store.ttl"')["compression"] == "kNoCompression"
    for store in ("plain", "ttl"):
        table = effective(directory, f'TableOptions/BlockBasedTable "store.{store}"')
        assert table["block_size"] == "16384"
    assert effective(directory, "DBOptions")["max_open_files"] == "77"


def test_a_preset_does_not_undo_single_options(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    open_database(specs.plain, optimize_for_point_lookup=8, write_buffer_size=3 << 20).close()
    directory = tmp_path / "0_3"
    assert effective(directory, 'CFOptions "store.plain"')["write_buffer_size"] == str(3 << 20)
    table = effective(directory, 'TableOptions/BlockBasedTable "store.plain"')
    assert table["cache_index_and_filter_blocks"] == "true"


def test_stores_that_disagree_about_the_database_are_refused_with_both(specs: Any) -> None:
    one = replace(specs.plain, rocksdb={"max_open_files": 50})
    two = replace(specs.ttl, rocksdb={"max_open_files": 60})
    with pytest.raises(ConfigError, match=r"stores plain and ttl .* max_open_files to 50 and 60"):
        check_stores([one, two], {})
    check_stores([one, replace(two, rocksdb={"max_open_files": 50})], {"max_open_files": 60})
    check_stores(
        [replace(one, rocksdb={"block_size": 512}), replace(two, rocksdb={"block_size": 1024})], {}
    )


@pytest.mark.parametrize("fewer", [{"num_levels": 3}, {"prepare_for_bulk_load": True}])
def test_levels_that_are_not_there_cannot_be_compressed(specs: Any, fewer: dict[str, Any]) -> None:
    check_stores([specs.plain], {"min_level_to_compress": 5})
    own = replace(specs.plain, rocksdb=fewer)
    with pytest.raises(ConfigError, match=r"store plain: .* min_level_to_compress = 5 is wrong"):
        check_stores([own], {"min_level_to_compress": 5})


def test_all_places_of_options_are_checked_and_named(specs: Any) -> None:
    with pytest.raises(ConfigError, match="rocksdb: RocksDB has no option 'x'"):
        check_stores([specs.plain], {"x": 1})
    with pytest.raises(ConfigError, match="store plain: RocksDB has no option 'x'"):
        check_stores([replace(specs.plain, rocksdb={"x": 1})], {})


@pytest.mark.parametrize(
    "compression", ["none", "snappy", "lz4", "lz4hc", "bz2", "zstd", *(set(UNUSABLE) & {"zlib"})]
)
def test_a_compression_is_usable_exactly_when_it_compresses(
    tmp_path: Path, compression: str
) -> None:
    options = rocksdict.Options(raw_mode=True)
    options.set_compression_type(getattr(rocksdict.DBCompressionType, compression)())
    database = rocksdict.Rdict(str(tmp_path / "db"), options)
    for number in range(1_000):
        database[b"%d" % number] = bytes(100)
    database.flush()
    size_bytes = database.property_int_value("rocksdb.total-sst-files-size") or 0
    database.close()
    is_usable = compression not in UNUSABLE and compression != "none"
    assert (size_bytes < 50_000) == is_usable


def test_memtables_of_rows_have_a_filter_and_no_others_take_its_memory(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    open_database(specs.plain, specs.ttl)
    section = 'CFOptions "{}"'
    ratio = {
        name: effective(tmp_path / "0_3", section.format(name))["memtable_prefix_bloom_size_ratio"]
        for name in ("default", "store.plain", "store.ttl", "index.ttl")
    }
    assert {name: float(text) for name, text in ratio.items()} == {
        "default": 0.0,
        "store.plain": 0.005,
        "store.ttl": 0.005,
        "index.ttl": 0.0,
    }
