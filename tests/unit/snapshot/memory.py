"""A backend in memory with a clock that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from streamer.errors import SnapshotMissingError
from streamer.snapshot.remote.api import (
    Backend,
    Content,
    Stored,
    check_key,
    check_prefix,
    exactly,
)

__all__ = ["Disk", "MemoryBackend"]


@dataclass
class Disk:
    """What is stored, and the time of the place; several backends may share one."""

    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    now_ms: int = 1_700_000_000_000

    def keys(self, part: str = "") -> list[str]:
        return sorted(key for key in self.objects if part in key)

    def change(self, key: str, content: bytes) -> None:
        """What no backend does: change an object in place."""
        self.objects[key] = (content, self.objects[key][1])


class MemoryBackend(Backend):
    """Objects in a dictionary. `before` is called with each request, and may raise."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.address = "memory://disk"
        self.before: Callable[[str, str], None] = lambda call, key: None
        self.chunk = 1000

    def put(self, key: str, content: Content, *, size: int) -> bool:
        check_key(key)
        self.before("put", key)
        if key in self.disk.objects:
            return False
        stored = b"".join(exactly(content, size, key))
        self.disk.objects[key] = (stored, self.disk.now_ms)
        self.before("has put", key)
        return True

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_key(key)
        self.before("read", key)
        if key not in self.disk.objects:
            raise SnapshotMissingError(f"{self.address}: there is no {key}")
        content = self.disk.objects[key][0]
        content = content[start:] if length is None else content[start : start + length]
        for at in range(0, len(content), self.chunk):
            self.before("chunk", key)
            yield content[at : at + self.chunk]

    def stat(self, key: str) -> Stored | None:
        check_key(key)
        self.before("stat", key)
        if key not in self.disk.objects:
            return None
        content, modified_ms = self.disk.objects[key]
        return Stored(key, len(content), modified_ms)

    def list(self, prefix: str) -> Iterator[Stored]:
        check_prefix(prefix)
        self.before("list", prefix)
        for key, (content, modified_ms) in sorted(self.disk.objects.items()):
            if key.startswith(prefix):
                yield Stored(key, len(content), modified_ms)

    def delete(self, key: str) -> None:
        check_key(key)
        self.before("delete", key)
        self.disk.objects.pop(key, None)

    def unfinished(self) -> Iterator[Stored]:
        return iter(())

    def discard(self, key: str) -> None:
        return

    def close(self) -> None:
        return
