"""Whether the functions of a user can be called as they will be: told when they are given."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from streamer.errors import TopologyError

__all__ = ["check_call", "check_processor"]

_MAY_YIELD = ("flat_map()", "flat_map_values()")


def check_call(operation: str, function: Any, *parameters: str) -> None:
    """Raise TopologyError for what is no function, cannot take these parameters by position, or
    does not run when it is called. What tells no signature, as some functions written in C, is
    taken."""
    expected = f"function({', '.join(parameters)})"
    if not callable(function):
        raise TopologyError(
            f"{operation} needs a function, not {function!r}", hint=f"it is called as {expected}"
        )
    _check_runs(operation, function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*parameters)
    except TypeError as error:
        raise TopologyError(
            f"{operation} calls {expected}, which {_name(function)}{signature} does not accept:"
            f" {error}",
            hint=f"write it with {len(parameters)} parameters: {', '.join(parameters) or 'none'}",
        ) from error


def check_processor(processor: Any) -> None:
    """Raise TopologyError for what `process` cannot call: a function, or a class or object with
    `process`, `open` and `close`."""
    called = getattr(processor, "process", processor)
    itself = ("self",) if inspect.isclass(processor) else ()
    check_call("process()", called, *itself, "record", "context")
    for name, parameters in (("open", ("context",)), ("close", ())):
        function = getattr(processor, name, None)
        if called is not processor and function is not None:
            check_call(f"process() with {name}()", function, *itself, *parameters)


def _check_runs(operation: str, function: Any) -> None:
    """Refuse coroutine and generator functions: a call of one runs nothing of it, and gives an
    object that holds for true."""
    called = _innermost(function)
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise TopologyError(
            f"{operation} calls functions one by one and awaits none: {_name(function)} is"
            " 'async def', so nothing of it would run",
            hint="write it with plain 'def'; where it must await, let it call asyncio.run(...)",
        )
    if inspect.isgeneratorfunction(called) and operation not in _MAY_YIELD:
        raise TopologyError(
            f"{operation} takes what the function returns: {_name(function)} has a 'yield', so"
            " nothing of it would run",
            hint="call context.forward(...) instead of yield"
            if operation == "process()"
            else "return the result; only flat_map and flat_map_values take several",
        )


def _innermost(function: Any) -> Any:
    """The function whose body runs: of a partial, of a bound method, of an object with __call__."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif inspect.isroutine(function) or inspect.isclass(function):
            return function
        else:
            return type(function).__call__


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
