"""Fewer and larger pieces between the network and who reads: each one costs a change of threads.

The library asks the system twice for each packet of 32 KB, and hands each packet on by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["ReadAhead", "gathered"]

AHEAD_BYTES = 256 * 1024


class ReadAhead:
    """A socket that takes as much as has come, and gives what it is asked for. One thread reads."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._come = b""
        self._at = 0

    def recv(self, size: int) -> bytes:
        """As of a socket: at least a byte, or none at the end."""
        if self._at == len(self._come):
            if size >= AHEAD_BYTES:
                return bytes(self._socket.recv(size))
            self._come, self._at = self._socket.recv(AHEAD_BYTES), 0
        start, self._at = self._at, min(self._at + size, len(self._come))
        return self._come[start : self._at]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def gathered(chunks: Iterator[bytes], size: int = AHEAD_BYTES) -> Iterator[bytes]:
    """The same bytes in chunks of `size` at least, but for the last one. What has come before an
    error comes before it."""
    held: list[bytes] = []
    count = 0
    try:
        for chunk in chunks:
            held.append(chunk)
            count += len(chunk)
            if count >= size:
                whole, held, count = b"".join(held), [], 0
                yield whole
    except Exception:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)
