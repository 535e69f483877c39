"""The stores as queries see them: where a store's keys live, and how a key is written as text.

A key in a path or parameter is the text of a str, the digits of a number, the bytes (%XX) of a
bytes key, the JSON of any other type. `key_encoding` (hex or base64) gives a key's bytes as they
are stored instead, whatever the type.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from streamer.config.names import nearest
from streamer.errors import StreamerError
from streamer.http.answers import QueryError
from streamer.http.requests import text_of
from streamer.ids import changelog_topic
from streamer.topology.graph import Topology
from streamer.topology.serde import Bytes, Json, MessagePack, Serde, Utf8
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["ENCODINGS", "Catalog", "StoreView", "decoded", "encoded"]

ENCODINGS: tuple[str, ...] = ("hex", "base64")


def encoded(data: bytes, encoding: str) -> str:
    return data.hex() if encoding == "hex" else base64.b64encode(data).decode()


def decoded(text: bytes, encoding: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text.decode())
        # Both alphabets: + and / need escaping in an address, so people write - and _.
        return base64.b64decode(text.translate(_STANDARD), validate=True)
    except (ValueError, binascii.Error):
        shown = text.decode("utf-8", "replace")
        raise QueryError(
            400, f"key {shown!r} is not {encoding}", hint=f"key_encoding={encoding} was asked for"
        ) from None


_STANDARD = bytes.maketrans(b"-_ ", b"+/+")


class StoreView:
    """One store: its specification, its place in the topology, its serdes ready for use."""

    def __init__(
        self, spec: StoreSpec, subtopology: int, *, key: Serde[Any], value: Serde[Any]
    ) -> None:
        self.spec = spec
        self.subtopology = subtopology
        self.key = key
        self.value = value

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_key_value(self) -> bool:
        return self.spec.kind is StoreKind.KEY_VALUE

    def key_bytes(self, text: bytes, encoding: str) -> bytes:
        """The stored bytes of a key that stands in an address."""
        if encoding:
            return decoded(text, encoding)
        if self.key is Bytes:
            return text
        written = text_of(text, "the key")
        kind = getattr(self.key, "type", None)
        if self.key is Utf8:
            return written.encode()
        if isinstance(self.key, Json | MessagePack):
            return self._encode(lambda: msgspec.json.decode(text, type=kind), written)
        if kind in (int, float):
            if "_" in written or not written.isascii():  # Python's own ways to write numbers
                raise self._not_a_key(written, "a number has digits alone")
            return self._encode(lambda: kind(written), written)
        try:
            return bytes(self.key.encode(written))
        except Exception:
            return self._encode(lambda: msgspec.json.decode(text), written)

    def key_of_json(self, value: Any, encoding: str) -> bytes:
        """The stored bytes of a key that stands in a JSON body."""
        if encoding or self.key is Bytes:
            if not isinstance(value, str):
                raise self._not_a_key(value, "base64 or hex text is expected")
            return decoded(value.encode(), encoding or "base64")
        if isinstance(self.key, Json | MessagePack):
            kind = self.key.type
            return self._encode(lambda: msgspec.convert(value, kind), value)
        kind = getattr(self.key, "type", None)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if kind in (str, int, float) and (type(value) is not kind):
            raise self._not_a_key(value, f"{kind.__name__} is expected")
        return self._encode(lambda: value, value)

    def prefix_bytes(self, text: bytes, encoding: str) -> bytes:
        """The bytes with which all keys of a prefix begin."""
        if not encoding and self.key not in (Utf8, Bytes):
            raise QueryError(
                400,
                f"the keys of store {self.name!r} are {self.key.name}: they have no text prefix",
                hint="give bytes with key_encoding=hex, or a range with start= and end=",
            )
        return self.key_bytes(text, encoding)

    def shown_key(self, key: bytes, encoding: str) -> Any:
        """What JSON shows for a key."""
        if encoding:
            return encoded(key, encoding)
        try:
            return self.key.decode(key)
        except Exception as error:
            raise QueryError(
                500,
                f"key {key!r} of store {self.name!r} cannot be decoded as {self.key.name}: {error}",
                hint="?key_encoding=hex shows keys as they are stored",
            ) from error

    def _encode(self, value: Callable[[], Any], shown: Any) -> bytes:
        try:
            return bytes(self.key.encode(value()))
        except StreamerError as error:
            raise self._not_a_key(shown, error.message, error.hint) from error
        except (struct.error, OverflowError):
            raise self._not_a_key(shown, "it is out of range") from None
        except Exception as error:
            raise self._not_a_key(shown, str(error)) from error

    def _not_a_key(self, shown: Any, why: str, hint: str = "") -> QueryError:
        is_json = isinstance(self.key, Json | MessagePack)
        form = 'JSON is expected, such as "ann" with its quotes' if is_json else ""
        return QueryError(
            400,
            f"{shown!r} is not a key of store {self.name!r}, which are {self.key.name}: {why}",
            hint=hint or form or "key_encoding=hex takes the bytes of any key",
        )


class Catalog:
    """The stores of a topology by name. `registry` are the settings of the schema registry."""

    def __init__(self, topology: Topology, registry: Mapping[str, Any]) -> None:
        self._application = topology.application_id
        self.views: dict[str, StoreView] = {}
        for subtopology in topology.subtopologies:
            for spec in subtopology.stores:
                topic = changelog_topic(topology.application_id, spec.name)
                self.views[spec.name] = StoreView(
                    spec,
                    subtopology.number,
                    key=spec.key.bind(topic, True, registry),
                    value=spec.value.bind(topic, False, registry),
                )

    def find(self, name: str) -> StoreView:
        view = self.views.get(name)
        if view is not None:
            return view
        guess = nearest(name, self.views)
        known = ", ".join(self.views) or "none"
        raise QueryError(
            404,
            f"application {self._application!r} has no store {name!r}",
            hint=f"did you mean {guess!r}?" if guess else f"its stores: {known}",
        )
