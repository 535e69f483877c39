"""A pause as one worker keeps it (pause.py). Pure; used by one thread.

    go on --- carried ---> pause: commit, drop what was read, then `keep`
      ^                      |
      |                    kept --- not carried any more ---> resume
      |                      |
      +------ `end` <--- its lease is over: no layout was recorded, and none can be for it

What has ended by itself here is told, and not kept again, whoever still carries it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["KeptPause"]


@dataclass(slots=True)
class KeptPause:
    """`number` is the pause that is kept, `resumed` the last one that was ended here."""

    number: str = ""
    resumed: str = ""
    _ends_ms: int = 0
    _ended: set[str] = field(default_factory=set)

    def look(self, carried: str, now_ms: int) -> Literal["go on", "pause", "keep", "resume", "end"]:
        """What is due, with what the assignment carries. After `pause` comes `keep`, after `end`
        comes `end` or another look, after `resume` comes `begin`."""
        if carried in self._ended:
            carried = ""
        if not self.number:
            return "pause" if carried else "go on"
        if not carried:
            return "resume"
        if carried != self.number:
            return "pause"
        return "end" if now_ms >= self._ends_ms else "keep"

    def keep(self, number: str, now_ms: int, lease_ms: int) -> None:
        """Everything that was processed is committed, and nothing will be."""
        self.number, self._ends_ms = number, now_ms + lease_ms

    def end(self) -> None:
        """It is sure that nothing came of it, and that nothing can."""
        self._ended.add(self.number)
        self.number, self.resumed = "", self.number

    def begin(self) -> None:
        """Nothing is kept: it was ended by others, or all tasks were dropped."""
        self.number = ""
