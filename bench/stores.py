"""Reads the RocksDB databases that a system has left behind, and compares them with a changelog."""

from __future__ import annotations

from pathlib import Path

from rocksdict import AccessType, Options, Rdict

from bench.changelog import Changelog


def check_stores(state: Path, changelog: Changelog) -> tuple[str, ...]:
    """The faults in words; empty when every key is there once with its final value.

    A stored value may carry more in front of the changelog's, such as a timestamp. Rows with
    keys of another form are a system's own and not looked at.
    """
    seen = 0
    wrong = 0
    for current in sorted(state.rglob("CURRENT")):
        found, bad = _check_database(current.parent, changelog)
        seen, wrong = seen + found, wrong + bad
    faults = []
    if seen != changelog.keys:
        faults.append(f"{seen:,} keys are in the stores, {changelog.keys:,} are in the changelog")
    if wrong:
        faults.append(f"{wrong:,} values are not the last ones of the changelog")
    return tuple(faults)


def _check_database(path: Path, changelog: Changelog) -> tuple[int, int]:
    names = Rdict.list_cf(str(path), Options(raw_mode=True))
    families = {name: Options(raw_mode=True) for name in names if name != "default"}
    database = Rdict(
        str(path),
        Options(raw_mode=True),
        column_families=families,
        access_type=AccessType.read_only(False),
    )
    seen = wrong = 0
    try:
        for family in [database, *(database.get_column_family(name) for name in families)]:
            found, bad = _check_family(family, changelog)
            seen, wrong = seen + found, wrong + bad
            if family is not database:
                family.close()
    finally:
        database.close()
    return seen, wrong


def _check_family(family: Rdict, changelog: Changelog) -> tuple[int, int]:
    """``status()`` after the loop: an iterator ends early and silently at a damaged block."""
    seen = wrong = 0
    rows = family.iter()
    rows.seek_to_first()
    while rows.valid():
        final = changelog.final(rows.key())
        if final is not None:
            seen += 1
            wrong += not rows.value().endswith(final)
        rows.next()
    rows.status()
    return seen, wrong
