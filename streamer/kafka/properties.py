"""The settings that librdkafka itself knows: names, aliases, which client they are for, checks.

They are asked of the library that is loaded, so that the list never lags behind it. The functions
used are part of librdkafka's public C interface. Where the library hides them (a client built
in another way), nothing is known here, and the client refuses a wrong name when it is made.
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

__all__ = ["Property", "complaint", "properties"]

_ROW = re.compile(r"(?P<name>[a-z0-9._]+) *\| *(?P<role>[CP*]) *\|(?P<rest>.*)")
_ALIAS = re.compile(r"Alias for `([a-z0-9._]+)`")


class Property(NamedTuple):
    """One setting. `role` is C (consumer), P (producer) or *; `canonical` differs for an alias."""

    name: str
    role: str
    canonical: str


@cache
def properties() -> dict[str, Property]:
    """All settings by name; empty when the library cannot be asked."""
    library = _library()
    found: dict[str, Property] = {}
    for each in () if library is None else _read(_table(library)):
        # Some names come twice; the second is the old one of a single topic.
        found.setdefault(each.name, each)
    return found


def complaint(name: str, value: object) -> str:
    """What librdkafka says against the name or the value; empty when nothing."""
    library = _library()
    if library is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    message = ctypes.create_string_buffer(512)
    conf = library.rd_kafka_conf_new()
    try:
        result = library.rd_kafka_conf_set(
            conf, name.encode(), text.encode(), message, ctypes.sizeof(message)
        )
    finally:
        library.rd_kafka_conf_destroy(conf)
    return message.value.decode(errors="replace") if result != 0 else ""


@cache
def _library() -> ctypes.CDLL | None:
    from confluent_kafka import cimpl

    try:
        # Symbols are looked up in the libraries that the extension module is linked with, too.
        library = ctypes.CDLL(cimpl.__file__)
        library.rd_kafka_conf_new.restype = ctypes.c_void_p
        library.rd_kafka_conf_destroy.argtypes = [ctypes.c_void_p]
        library.rd_kafka_conf_properties_show.argtypes = [ctypes.c_void_p]
        library.rd_kafka_conf_set.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
        ]
    except (OSError, AttributeError):
        return None
    return library


def _table(library: ctypes.CDLL) -> str:
    """The reference table that librdkafka prints to a C stream."""
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    libc.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
    libc.fclose.argtypes = [ctypes.c_void_p]
    with tempfile.TemporaryFile() as file:
        stream = libc.fdopen(os.dup(file.fileno()), b"w")
        library.rd_kafka_conf_properties_show(stream)
        libc.fclose(stream)
        file.seek(0)
        return file.read().decode()


def _read(table: str) -> Iterator[Property]:
    for line in table.splitlines():
        row = _ROW.match(line)
        if row is not None:
            alias = _ALIAS.search(row["rest"])
            yield Property(row["name"], row["role"], alias[1] if alias else row["name"])
