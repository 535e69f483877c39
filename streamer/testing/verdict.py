"""What a check of a history says: every fault by kind and key, the first ones in full."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Fault", "Kind", "Verdict"]

Kind = Literal["lost", "doubled", "reordered", "wrong", "extra", "state", "offsets", "misplaced"]
SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `text` tells all that is known of it."""

    kind: Kind
    key: Any
    text: str


@dataclass(slots=True)
class Verdict:
    """True when the history is right. `assert verdict, verdict` shows why it is not."""

    inputs: int = 0
    outputs: int = 0
    keys: int = 0
    checked: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.faults

    @property
    def kinds(self) -> dict[str, int]:
        """How many faults there are of each kind."""
        return dict(Counter(fault.kind for fault in self.faults))

    def add(self, kind: Kind, key: Any, text: str) -> None:
        self.faults.append(Fault(kind, key, text))

    def __str__(self) -> str:
        what = f"{self.inputs:,} inputs, {self.outputs:,} outputs, {self.keys:,} keys"
        if not self.faults:
            return f"right: {what}; compared: {', '.join(self.checked)}"
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()))
        lines = [f"WRONG: {counts} ({what})"]
        lines += [f"  {fault.kind}: {fault.text}" for fault in self.faults[:SHOWN_MAX]]
        if len(self.faults) > SHOWN_MAX:
            lines.append(f"  and {len(self.faults) - SHOWN_MAX:,} more")
        return "\n".join(lines)
