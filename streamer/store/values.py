"""Values of RocksDB options as text: from the environment, the command line, or as sizes in a file.

What an option takes is found by offering it one value of each kind, as the options themselves are
found by looking at the setters. So text becomes a number exactly where a number is taken.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import rocksdict

from streamer.config import bytes_of
from streamer.store.settings import Setting

__all__ = ["is_size", "natural"]

_SIZE = re.compile(r"size|bytes")
# Named after a size without being one in bytes.
_NO_SIZE = re.compile(r"_mb$|_multiplier$")
_SWITCH = {"true": True, "false": False}


def natural(setting: Setting, value: Any) -> Any:
    """The value in the form that the option takes; anything but text is left as it is.

    Raises ValueError for text that stands for nothing which the option takes.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    match _kind(setting):
        case "text":
            return value
        case "switch":
            return _SWITCH.get(text.lower(), value)
        case "integer":
            return _integer(setting, text)
        case "number":
            return _number(text)
    return _structure(text)


@cache
def is_size(setting: Setting) -> bool:
    """Whether an option is a number of bytes."""
    name = setting.name
    is_named = _SIZE.search(name) is not None and _NO_SIZE.search(name) is None
    return is_named and _kind(setting) == "integer"


@cache
def _kind(setting: Setting) -> str:
    if setting.is_property or not setting.parameters:
        return "switch"
    if len(setting.parameters) > 1:
        return "several"
    for kind, example in (("number", 1.5), ("integer", 1), ("switch", True), ("text", "x")):
        try:
            getattr(getattr(rocksdict, setting.holder)(), setting.method)(example)
        except TypeError:
            continue
        return kind
    return "several"


def _integer(setting: Setting, text: str) -> int:
    digits = text.replace("_", "")
    if re.fullmatch(r"[+-]?\d+", digits):
        return int(digits)
    size = bytes_of(text) if is_size(setting) else None
    if size is None:
        expected = "bytes, such as 4MiB or 4194304" if is_size(setting) else "a whole number"
        raise ValueError(f"it takes {expected}, not {text!r}")
    return size


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"it takes a number, not {text!r}") from None


def _structure(text: str) -> Any:
    """A list or a table written as JSON, or a name as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
