"""The embedded Kafka: `Sandbox` for a program, `SandboxCluster` for one that wants several brokers;
`up`, `down` and `status` for the shell."""

from __future__ import annotations

from streamer.sandbox.background import Status, default_directory, down, status, up
from streamer.sandbox.broker import Sandbox
from streamer.sandbox.cluster import SandboxCluster

__all__ = ["Sandbox", "SandboxCluster", "Status", "default_directory", "down", "status", "up"]
