"""Committed rows that were used lately, as they are stored.

Bytes cost the cyclic garbage collector nothing, where millions of live objects made it the largest
cost of all (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["RecentRows"]

# What a dictionary entry costs beside its key's and row's bytes: two bytes objects and the slot.
_ENTRY_BYTES = 170


class RecentRows:
    """Committed rows by key, bounded in bytes: two generations, the older is dropped whole."""

    __slots__ = ("_bytes_max", "_old", "_young", "_young_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max // 2
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._young_bytes = 0

    @property
    def generations(self) -> tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]]:
        """(younger, older) rows by key; None is a row that is known to be absent."""
        return self._young, self._old

    @property
    def size_bytes(self) -> int:
        return self._young_bytes + len(self._old) * _ENTRY_BYTES

    def resize(self, bytes_max: int) -> None:
        """Change the bound; it takes effect as rows come in."""
        self._bytes_max = bytes_max // 2

    def add(self, keys: Sequence[bytes], rows: Sequence[bytes | None]) -> None:
        self._young.update(zip(keys, rows, strict=True))
        added = sum(map(len, filter(None, rows))) + sum(map(len, keys))
        self._young_bytes += added + len(keys) * _ENTRY_BYTES
        if self._young_bytes > self._bytes_max:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows; their bytes count until their generation goes."""
        for key in keys:
            self._young.pop(key, None)
            self._old.pop(key, None)

    def clear(self) -> None:
        self._young, self._old, self._young_bytes = {}, {}, 0
