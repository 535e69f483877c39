"""Some rows of a store at rest, compared with a look at all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.store.keys import row, session_key, window_key
from streamer.store.pool import MemoryPool
from streamer.store.reading import StoredDatabase
from streamer.store.rocks import TaskDatabase
from streamer.store.selection import Selection, select
from streamer.topology.serde import Bytes
from streamer.topology.stores import StoreKind, StoreSpec

KEYS = [b"", b"\x00", b"a", b"a\x00", b"aa", b"ab", b"b", b"b\xff", b"\xff"]
TIMES_MS = [0, 1, 255, 256, 1 << 40]
SPECS = [StoreSpec(kind.value, kind, Bytes, Bytes) for kind in StoreKind]


def stored_keys(kind: StoreKind) -> list[bytes]:
    if kind is StoreKind.WINDOW:
        return [window_key(at_ms, key) for at_ms in TIMES_MS for key in KEYS]
    if kind is StoreKind.SESSION:
        return [session_key(key, at_ms // 2, at_ms) for at_ms in TIMES_MS for key in KEYS]
    return [key for key in KEYS if key]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredDatabase]:
    where = tmp_path_factory.mktemp("selection") / "0_0"
    made = TaskDatabase.open(where, SPECS, pool=MemoryPool(8 << 20, 8 << 20), options={})
    made.write(
        {
            kind.value: [(key, row(5, b"v", kind)) for key in stored_keys(kind)]
            for kind in StoreKind
        },
        {},
    )
    made.close()
    with StoredDatabase(where) as opened:
        yield opened


keys = st.sampled_from(KEYS)
times = st.sampled_from(TIMES_MS)


@pytest.mark.slow
@given(
    kind=st.sampled_from(StoreKind),
    wanted=st.builds(
        Selection,
        key=st.none() | keys,
        prefix=keys,
        first=keys,
        end=st.none() | keys,
        from_ms=times,
        to_ms=st.none() | times,
    ),
)
@settings(max_examples=400, deadline=None)
def test_what_is_selected_is_what_is_wanted(
    database: StoredDatabase, kind: StoreKind, wanted: Selection
) -> None:
    everything = list(select(database, kind.value, Selection()))
    assert len(everything) == len(stored_keys(kind))
    found = list(select(database, kind.value, wanted))
    assert found == [each for each in everything if wanted.takes(each)]
