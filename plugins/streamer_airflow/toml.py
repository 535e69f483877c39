"""Settings of a connection as a file that only its owner may read: secrets are in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["settings_file"]

_NAME = "streamer.toml"


def settings_file(directory: Path, settings: Mapping[str, Any]) -> Path:
    """Write them there; the file. Values are those that JSON has, tables of them included."""
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    lines = [f"{name} = {_text(value)}" for name, value in plain.items()]
    for name, table in settings.items():
        if isinstance(table, Mapping):
            lines += [f"[{name}]", *(f"{_text(str(k))} = {_text(v)}" for k, v in table.items())]
    path = directory / _NAME
    # Never readable by others, not for a moment.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


def _text(value: Any) -> str:
    """A text of JSON is one of TOML, but for DEL, which has to be escaped there."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
