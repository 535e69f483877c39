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

    __slots__ = ("_bytes_max", "_old", "_old_bytes", "_young", "_young_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max // 2
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._young_bytes = self._old_bytes = 0

    @property
    def generations(self) -> tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]]:
        """(younger, older) rows by key; None is a row that is known to be absent."""
        return self._young, self._old

    @property
    def size_bytes(self) -> int:
        return self._young_bytes + self._old_bytes

    def resize(self, bytes_max: int) -> None:
        """Change the bound; what does not fit any more is forgotten at once."""
        self._bytes_max = bytes_max // 2
        if self._young_bytes > self._bytes_max:
            self.clear()
        elif self._old_bytes > self._bytes_max:
            self._old, self._old_bytes = {}, 0

    def add(self, keys: Sequence[bytes], rows: Sequence[bytes | None]) -> None:
        """Take in rows, those used last at the end: of more than fit, these are kept."""
        added = _size_bytes(keys, rows)
        if added > self._bytes_max:
            self.clear()
            kept = self._first_that_fits(keys, rows)
            keys, rows = keys[kept:], rows[kept:]
            added = _size_bytes(keys, rows)
        elif self._young_bytes + added > self._bytes_max:
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
        self._young.update(zip(keys, rows, strict=True))
        self._young_bytes += added

    def _first_that_fits(self, keys: Sequence[bytes], rows: Sequence[bytes | None]) -> int:
        """From which place on the rest fits into one generation."""
        left, place = self._bytes_max, len(keys)
        while place:
            left -= len(keys[place - 1]) + len(rows[place - 1] or b"") + _ENTRY_BYTES
            if left < 0:
                break
            place -= 1
        return place

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows; their bytes count until their generation goes."""
        for key in keys:
            self._young.pop(key, None)
            self._old.pop(key, None)

    def clear(self) -> None:
        self._young, self._old = {}, {}
        self._young_bytes = self._old_bytes = 0


def _size_bytes(keys: Sequence[bytes], rows: Sequence[bytes | None]) -> int:
    return sum(map(len, filter(None, rows))) + sum(map(len, keys)) + len(keys) * _ENTRY_BYTES
