from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from bench.changelog import RECORD_BYTES, Changelog, blocks, value
from bench.stores import check_stores

SMALL = Changelog(records=1_200, keys=300)


def last_values(changelog: Changelog) -> dict[bytes, bytes]:
    last: dict[bytes, bytes] = {}
    for keys, values in blocks(changelog):
        last.update(zip(keys, values, strict=True))
    return last


def write(path: Path, rows: dict[bytes, bytes], *, family: str | None = None) -> None:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    store = Rdict(str(path), options)
    target = store.create_column_family(family, Options(raw_mode=True)) if family else store
    for key, row in rows.items():
        target[key] = row
    if target is not store:
        target.close()
    store.close()


def test_every_key_is_updated_equally_often() -> None:
    updates = Counter(key for keys, _ in blocks(SMALL) for key in keys)
    assert set(updates.values()) == {4}
    assert len(updates) == 300


def test_a_record_has_its_size() -> None:
    sizes = {
        len(key) + len(row)
        for keys, values in blocks(SMALL)
        for key, row in zip(keys, values, strict=True)
    }
    assert sizes == {RECORD_BYTES}


def test_the_final_value_is_that_of_the_last_record() -> None:
    last = last_values(SMALL)
    assert {key: SMALL.final(key) for key in last} == last


def test_values_differ_between_keys_and_rounds() -> None:
    values = {value(number, round_) for number in range(300) for round_ in range(4)}
    assert len(values) == 1_200


@pytest.mark.parametrize("key", [b"c0000300", b"stats", b""])
def test_other_keys_have_no_final_value(key: bytes) -> None:
    assert SMALL.final(key) is None


def test_records_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(ValueError, match="1,000 records"):
        Changelog(records=1_000, keys=300)


def test_a_whole_store_has_no_faults(tmp_path: Path) -> None:
    last = last_values(SMALL)
    first = {key: row for key, row in last.items() if key < b"c0000100"}
    # A second database with a family of its own and a timestamp before each value.
    rest = {key: b"\0" * 8 + row for key, row in last.items() if key >= b"c0000100"}
    write(tmp_path / "0_0", {**first, b"position": b"17"})
    write(tmp_path / "0_1", rest, family="stats")
    assert check_stores(tmp_path, SMALL) == ()


def test_a_missing_key_is_found(tmp_path: Path) -> None:
    last = last_values(SMALL)
    del last[b"c0000007"]
    write(tmp_path / "db", last)
    (fault,) = check_stores(tmp_path, SMALL)
    assert fault == "299 keys are in the stores, 300 are in the changelog"


def test_an_old_value_is_found(tmp_path: Path) -> None:
    write(tmp_path / "db", {**last_values(SMALL), b"c0000007": value(7, 2)})
    (fault,) = check_stores(tmp_path, SMALL)
    assert fault == "1 values are not the last ones of the changelog"


def test_no_store_at_all_is_a_fault(tmp_path: Path) -> None:
    (fault,) = check_stores(tmp_path, SMALL)
    assert fault == "0 keys are in the stores, 300 are in the changelog"
