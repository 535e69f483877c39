"""The command line of a benchmark, after parsing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Titled(Protocol):
    """What can be a row."""

    @property
    def title(self) -> str: ...


Row = TypeVar("Row", bound=Titled)


class UsageError(Exception):
    """The command line asks for something that is not there."""


@dataclass(frozen=True)
class Options:
    """What every benchmark understands; 0 and None mean the benchmark's own default."""

    runs: int = 1
    events: int = 0
    customers: int = 0
    partitions: int = 0
    only: tuple[str, ...] = ()
    bootstrap: str | None = None
    state_mib: tuple[int, ...] = ()
    rate: int = 0
    folds: int = 0

    def chosen(self, systems: Sequence[Row]) -> list[Row]:
        """The systems whose title holds one of the texts of ``only``; all without any."""
        found = [
            system
            for system in systems
            if not self.only or any(text.lower() in system.title.lower() for text in self.only)
        ]
        if not found:
            names = "\n  ".join(system.title for system in systems)
            raise UsageError(f"no row is named {' or '.join(self.only)}; there are\n  {names}")
        return found
