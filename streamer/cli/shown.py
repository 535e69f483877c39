"""How stored keys and values are shown: by the serdes of an application, or by their looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from streamer.errors import OperationRefusedError
from streamer.http.answers import QueryError, plain
from streamer.http.catalog import Catalog, StoreView, decoded, encoded
from streamer.topology.graph import Topology
from streamer.topology.stores import StoreKind

__all__ = ["Decoded", "by_app", "by_looks"]


class Decoded(Protocol):
    """Keys as they are written, and what JSON shows of keys and values."""

    def check_kind(self, kind: StoreKind) -> None: ...
    def key_bytes(self, text: str) -> bytes: ...
    def prefix_bytes(self, text: str) -> bytes: ...
    def key(self, stored: bytes) -> Any: ...
    def value(self, stored: bytes) -> Any: ...
    def end_ms(self, start_ms: int, end_ms: int | None) -> int | None: ...


def by_app(
    topology: Topology, registry: Mapping[str, Any], store: str, *, key: str, value: str
) -> Decoded:
    """Of a store of this application; `key` and `value` are encodings, or empty. Raises QueryError
    for a store that it does not have."""
    return _OfApp(Catalog(topology, registry).find(store), key, value)


def by_looks(key: str, value: str) -> Decoded:
    """Without an application."""
    return _ByLooks(key, value)


class _OfApp:
    def __init__(self, view: StoreView, key: str, value: str) -> None:
        self._view = view
        self._key, self._value = key, value

    def check_kind(self, kind: StoreKind) -> None:
        if kind is not self._view.spec.kind:
            raise OperationRefusedError(
                f"store {self._view.name!r} is of kind {kind.value} here, and of kind"
                f" {self._view.spec.kind.value} in the application",
                hint="the application was changed since: look without --app",
            )

    def key_bytes(self, text: str) -> bytes:
        return self._view.key_bytes(text.encode(), self._key)

    def prefix_bytes(self, text: str) -> bytes:
        return self._view.prefix_bytes(text.encode(), self._key)

    def key(self, stored: bytes) -> Any:
        return _as_json(self._view.shown_key(stored, self._key))

    def value(self, stored: bytes) -> Any:
        if self._value:
            return encoded(stored, self._value)
        try:
            return _as_json(self._view.value.decode(stored))
        except Exception as error:
            raise QueryError(
                500,
                f"a value of store {self._view.name!r} cannot be shown as"
                f" {self._view.value.name}: {error}",
                hint="--value-encoding base64 shows its bytes",
            ) from error

    def end_ms(self, start_ms: int, end_ms: int | None) -> int | None:
        return start_ms + (self._view.spec.window_size_ms or 0) if end_ms is None else end_ms


class _ByLooks:
    def __init__(self, key: str, value: str) -> None:
        self._key, self._value = key, value

    def check_kind(self, kind: StoreKind) -> None:
        """Any will do."""

    def key_bytes(self, text: str) -> bytes:
        return decoded(text.encode(), self._key) if self._key else text.encode()

    prefix_bytes = key_bytes

    def key(self, stored: bytes) -> Any:
        return encoded(stored, self._key) if self._key else _text_or_hex(stored)

    def value(self, stored: bytes) -> Any:
        if self._value:
            return encoded(stored, self._value)
        try:
            return msgspec.json.decode(stored)
        except msgspec.DecodeError:
            return _text_or_hex(stored)

    def end_ms(self, start_ms: int, end_ms: int | None) -> int | None:
        return end_ms  # of a window only the application knows


def _as_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=plain))


def _text_or_hex(stored: bytes) -> str:
    try:
        text = stored.decode()
    except UnicodeDecodeError:
        return encoded(stored, "hex")
    return text if text.isprintable() else encoded(stored, "hex")
