"""The broker of a run: the sandbox's own, or one that is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.sandbox import Sandbox

HEAP_MIB = 1_024


@contextmanager
def running_broker(bootstrap: str | None) -> Iterator[str]:
    """Yields bootstrap servers; a broker that was started here ends with the block."""
    if bootstrap:
        yield bootstrap
        return
    from streamer.sandbox import Sandbox

    sandbox: Sandbox
    with Sandbox(heap_mib=HEAP_MIB) as sandbox:
        yield sandbox.bootstrap_servers
