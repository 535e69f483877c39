"""What is used as `with Thing() as thing:` and closed at the end, whatever ends it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

__all__ = ["Closable"]


class Closable(ABC):
    """Base of classes whose `close` a `with` block is to call."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what this holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
