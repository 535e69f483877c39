"""A setting's description, and how a raw value becomes a checked one.

A raw value is what a keyword argument, a TOML file, an environment variable or the command line
gives. `parse` accepts each in its natural form (text may stand for a number), refuses everything
else with the place it came from, and leaves an already parsed value unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from streamer.config.names import nearest
from streamer.errors import ConfigError

__all__ = ["Kind", "Setting", "bytes_of", "ms", "parse", "setting"]

Kind = Literal["text", "path", "integer", "size", "choice", "mapping"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
_EXPECTED = {
    "text": "text",
    "path": "a path",
    "size": "a number of bytes, or text such as 512MiB",
    "mapping": "a table of names and values",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as declared: everything that a check or a page of documentation needs."""

    name: str
    kind: Kind
    why: str
    default: Any = None
    unit: str = ""
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "integer":
            number = f"a whole number of {self.unit}" if self.unit else "a whole number"
            return f"{number}{self._bounds()}"
        return _EXPECTED[self.kind] + (self._bounds() if self.kind == "size" else "")

    def _bounds(self) -> str:
        if self.low is None:
            return ""
        return f", at least {self.low}" + ("" if self.high is None else f" and at most {self.high}")


def setting(default: Any, why: str, **description: Any) -> Any:
    """Declare a field of Config; `description` holds the fields of Setting other than its name."""
    about = {"why": why, "default": default, **description}
    metadata = {"setting": about}
    if isinstance(default, dict):
        return field(default_factory=dict, repr=False, metadata=metadata)
    return field(default=default, metadata=metadata)


def ms(default: int | None, why: str, *, low: int = 0, high: int | None = None) -> Any:
    """Declare a time in milliseconds."""
    return setting(default, why, kind="integer", unit="ms", low=low, high=high)


def parse(declared: Setting, raw: Any, origin: str) -> Any:
    """The value that `raw` stands for. Raises ConfigError naming the setting and the origin."""
    if raw is None:
        if declared.default is None:
            return None
        raise _refused(declared, raw, origin)
    value = _PARSERS[declared.kind](declared, raw)
    if value is None or (isinstance(value, int) and not _is_within(declared, value)):
        raise _refused(declared, raw, origin)
    return value


def _is_within(declared: Setting, value: int) -> bool:
    low, high = declared.low, declared.high
    return (low is None or value >= low) and (high is None or value <= high)


def _refused(declared: Setting, raw: Any, origin: str) -> ConfigError:
    hint = ""
    if declared.kind == "choice" and isinstance(raw, str):
        guess = nearest(raw.lower(), declared.choices)
        hint = f"did you mean {guess}?" if guess else ""
    # A table may hold a password, also where it cannot be read as one.
    found = type(raw).__name__ if declared.kind == "mapping" else repr(raw)
    message = f"{origin}: {declared.name} must be {declared.expected}; it is {found}"
    return ConfigError(message, hint=hint)


def _text(_declared: Setting, raw: Any) -> str | None:
    return raw.strip() if isinstance(raw, str) else None


def _path(_declared: Setting, raw: Any) -> Path | None:
    if isinstance(raw, Path):
        return raw
    return Path(raw).expanduser() if isinstance(raw, str) and raw.strip() else None


def _integer(declared: Setting, raw: Any) -> int | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, timedelta) and declared.unit == "ms":
        return raw // timedelta(milliseconds=1)
    if isinstance(raw, str):
        text = raw.strip().replace("_", "")
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else None
    return raw if isinstance(raw, int) else None


def _size(_declared: Setting, raw: Any) -> int | None:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    return bytes_of(raw) if isinstance(raw, str) else None


def bytes_of(text: str) -> int | None:
    """The number of bytes that a text such as 512MiB stands for; None if it is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    unit = (match[2] or "B").upper()
    # MB is taken as MiB: whoever sizes memory means powers of two, as the JVM's -Xmx does.
    return int(float(match[1]) * 1024 ** "BKMGT".index(unit[0]))


def _choice(declared: Setting, raw: Any) -> str | None:
    if not isinstance(raw, str):
        return None
    by_folded = {choice.lower(): choice for choice in declared.choices}
    folded = raw.strip().lower()
    return by_folded.get(declared.synonyms.get(folded, folded).lower())


def _mapping(_declared: Setting, raw: Any) -> dict[str, Any] | None:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            return None
    if not isinstance(raw, Mapping) or not all(isinstance(name, str) for name in raw):
        return None
    return dict(raw)


_PARSERS = {
    "text": _text,
    "path": _path,
    "integer": _integer,
    "size": _size,
    "choice": _choice,
    "mapping": _mapping,
}
