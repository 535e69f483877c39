"""One process's share of an application: the loop, its tasks, and what is around them."""

from __future__ import annotations

from streamer.worker.run import run
from streamer.worker.worker import Worker

__all__ = ["Worker", "run"]
