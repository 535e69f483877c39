"""What comes in a channel, handed over in large pieces.

The library wakes the reader for each packet of 32 KB, copies it three times on the way, and asks
for two locks. Here packets are kept as they are, and joined once, when there are enough of them.
"""

from __future__ import annotations

import threading

from paramiko.buffered_pipe import PipeTimeout

__all__ = ["Inflow"]

# An eighth of what the host may send before it has to hear that some was taken.
PIECE_BYTES = 256 * 1024
# Less than a piece waits for more only so long: the host may have no more at the moment.
_GATHER_S = 0.05


class Inflow:
    """Takes the place of a channel's buffer (`paramiko.buffered_pipe.BufferedPipe`): one thread
    feeds it, another reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_enough = threading.Condition(self._lock)
        self._held: list[bytes] = []
        self._count = 0
        self._is_closed = False

    def feed(self, data: bytes) -> None:
        with self._lock:
            self._held.append(data)
            before, self._count = self._count, self._count + len(data)
            # Whoever has waited since there was nothing looks at what there is a moment later.
            if before == 0 or before < PIECE_BYTES <= self._count:
                self._is_enough.notify()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """All that has come, up to `nbytes`, once that is a piece; less of it after a moment or at
        the end, nothing when all was read. Raises PipeTimeout where nothing comes for so long."""
        with self._lock:
            self._wait(timeout)
            whole = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            rest = whole[nbytes:]
            self._held, self._count = [rest] if rest else [], len(rest)
            return whole[:nbytes]

    def _wait(self, timeout: float | None) -> None:
        if not self._count and not self._is_closed:
            self._is_enough.wait_for(lambda: self._count or self._is_closed, timeout)
            if not self._count and not self._is_closed:
                raise PipeTimeout
        self._is_enough.wait_for(lambda: self._count >= PIECE_BYTES or self._is_closed, _GATHER_S)

    def close(self) -> None:
        """No more comes."""
        with self._lock:
            self._is_closed = True
            self._is_enough.notify_all()

    def empty(self) -> bytes:
        """All that is there, without waiting."""
        with self._lock:
            whole = b"".join(self._held)
            self._held, self._count = [], 0
            return whole

    def read_ready(self) -> bool:
        with self._lock:
            return bool(self._count)

    def __len__(self) -> int:
        with self._lock:
            return self._count
