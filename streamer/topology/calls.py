"""Whether the functions of a user can be called as they will be: told when they are given."""

from __future__ import annotations

import inspect
from typing import Any

from streamer.errors import TopologyError

__all__ = ["check_call"]


def check_call(operation: str, function: Any, *parameters: str) -> None:
    """Raise TopologyError for what is no function, or cannot take these parameters by position.
    What tells no signature, as some functions written in C, is taken."""
    expected = f"function({', '.join(parameters)})"
    if not callable(function):
        raise TopologyError(
            f"{operation} needs a function, not {function!r}", hint=f"it is called as {expected}"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*parameters)
    except TypeError as error:
        name = getattr(function, "__qualname__", None) or repr(function)
        raise TopologyError(
            f"{operation} calls {expected}, which {name}{signature} does not accept: {error}",
            hint=f"write it with {len(parameters)} parameters: {', '.join(parameters) or 'none'}",
        ) from error
