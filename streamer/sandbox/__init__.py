"""The embedded Kafka: `Sandbox` for a program, `up`, `down` and `status` for the shell."""

from __future__ import annotations

from streamer.sandbox.background import Status, default_directory, down, status, up
from streamer.sandbox.broker import Sandbox

__all__ = ["Sandbox", "Status", "default_directory", "down", "status", "up"]
