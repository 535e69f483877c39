"""The numbers of control records. They are bounded as they are read: somebody could otherwise send
one that nobody can add to or write down again, which would end each controller that reads it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["Lag", "Whole"]

_MAX = 1 << 62

Whole = Annotated[int, Meta(ge=0, le=_MAX)]
Lag = Annotated[int, Meta(ge=-1, le=_MAX)]
"""-1 is "not known"."""
