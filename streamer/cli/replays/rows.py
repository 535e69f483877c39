"""How rows that differ are shown: by the application's code where `--app` names it, else by their
looks."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from streamer.cli.options import APP_VARIABLE, resolved
from streamer.cli.shown import by_app, by_looks
from streamer.cli.target import load_app
from streamer.store.keys import payload
from streamer.topology.stores import StoreKind

if TYPE_CHECKING:
    from streamer.cli.shown import Decoded
    from streamer.operations.replay.compare import Sample

__all__ = ["RowsShown"]

# What stands before the key of a window, and of a session, in a stored key.
_TIMES = {StoreKind.WINDOW: 8, StoreKind.SESSION: 16}


class RowsShown:
    """Of the application of a command line."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        name = arguments.app or os.environ.get(APP_VARIABLE, "")
        self._app = load_app(name) if ":" in name else None
        self._registry = resolved(self._app, arguments).config.schema_registry if self._app else {}
        self._decoded: dict[str, Decoded] = {}
        stores = self._app.topology().stores if self._app else []
        self._kinds = {spec.name: spec.kind for spec in stores}

    def value(self, store: str, row: bytes) -> Any:
        """What it holds, as JSON has it. Raises QueryError for what cannot be read."""
        return self._by(store).value(payload(row))

    def sample(self, store: str, one: Sample) -> dict[str, Any]:
        """Its key and values; None for no row."""
        times = _TIMES.get(self._kinds.get(store, StoreKind.KEY_VALUE), 0)
        return {
            "key": self._by(store).key(one.key[times:]),
            "live": None if one.live is None else self.value(store, one.live),
            "again": None if one.again is None else self.value(store, one.again),
        }

    def _by(self, store: str) -> Decoded:
        if store not in self._decoded:
            self._decoded[store] = (
                by_app(self._app.topology(), self._registry, store, key="", value="")
                if self._app
                else by_looks(key="", value="")
            )
        return self._decoded[store]
