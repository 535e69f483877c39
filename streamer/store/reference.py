"""The reference page of the RocksDB options, written from what the binding really takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import rocksdict

from streamer.store.defaults import DATABASE_WIDE, DEFAULTS, INDEX_DEFAULTS, ROW_DEFAULTS
from streamer.store.settings import ALIASES, NEEDED_CLASS, OWNED, UNUSABLE, Setting, settings
from streamer.store.values import is_size

__all__ = ["page", "takes"]

_HEAD = """\
# RocksDB options

{generated}

Set for all stores with `rocksdb={{...}}` in the configuration, for one with
`Store(..., rocksdb={{"block_size": 16384}})`; a store's own win. Names are those of RocksDB, and
all values are plain: numbers, true and false, names, lists and tables; a size is bytes, or text
such as `4MiB`. What needs several values takes them as a list in the order shown, or as a table; in
the environment and on the command line both are written as JSON. An unknown name or a wrong value
ends the start with the store and the nearest right name, and so does `streamer settings`. Both try
options that are set on an empty database in a temporary directory: what RocksDB refuses, alone or
together, and numbers and switches that it would take for others, are refused with its reason.

An option marked with * is one of the whole database, which all stores of a task share: one of them
may set it, or several alike. The defaults shown are Streamer's; where there is none, RocksDB's own
holds. An index by time (stores with a TTL, sessions) has no filters of memtables, and besides:
{index}.
"""


def page(generated: str) -> str:
    """The whole page; `generated` is the line that says how it is written."""
    return "\n".join(_lines(generated)) + "\n"


def _lines(generated: str) -> Iterator[str]:
    index = ", ".join(f"`{name}` = {value}" for name, value in INDEX_DEFAULTS.items())
    yield _HEAD.format(generated=generated, index=index)
    yield "| option | takes | default | what it does |"
    yield "|---|---|---|---|"
    for name, setting in settings().items():
        if name not in OWNED:
            mark = "*" if name in DATABASE_WIDE else ""
            default = str({**DEFAULTS, **ROW_DEFAULTS}.get(name, "")).replace("True", "true")
            yield _row(f"`{name}`{mark}", takes(setting), default, _meaning(setting))
    yield "\n## Other names\n"
    yield "RocksDB's own names where its binding has others:\n"
    yield "| name | option |"
    yield "|---|---|"
    for alias, name in ALIASES.items():
        yield _row(f"`{alias}`", f"`{name}`")
    yield "\n## Refused\n"
    yield "| option | why |"
    yield "|---|---|"
    for name, reason in (OWNED | UNUSABLE).items():
        yield _row(f"`{name}`", reason)


def takes(setting: Setting) -> str:
    """What an option takes, found by offering it something that nothing takes."""
    if setting.is_property or not setting.parameters:
        return "true, false"
    if setting.name == "bloom_filter":
        return "bits per key, or bits_per_key, block_based"
    if len(setting.parameters) > 1:
        return ", ".join(setting.parameters)
    if is_size(setting):
        return "size"
    try:
        getattr(getattr(rocksdict, setting.holder)(), setting.method)(object())
    except TypeError as error:
        return _described(str(error))
    return "anything"


def _described(error: str) -> str:
    needed = NEEDED_CLASS.search(error)
    if needed is None:
        return "whole number" if "integer" in error else "number"
    cls = getattr(rocksdict, needed[1], None)
    if cls is None:
        return {"bool": "true, false", "str": "text", "Sequence": "list"}.get(needed[1], needed[1])
    members = {
        name: member
        for name, member in vars(cls).items()
        if not name.startswith("_") and name not in UNUSABLE
    }
    if all(isinstance(member, staticmethod) for member in members.values()):
        return ", ".join(_call(name, member) for name, member in sorted(members.items()))
    return "table of " + ", ".join(sorted(name.removeprefix("set_") for name in members))


def _call(name: str, member: Any) -> str:
    parameters = (member.__func__.__text_signature__ or "()").strip("()")
    return f"`{{{name}: [{parameters}]}}`" if parameters else f"`{name}`"


def _meaning(setting: Setting) -> str:
    text = getattr(getattr(rocksdict, setting.holder), setting.method).__doc__ or ""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
