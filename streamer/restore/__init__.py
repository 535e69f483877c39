"""Brings a task's state up to the end of its changelogs, beside processing."""

from __future__ import annotations

from streamer.restore.progress import RestoreProgress
from streamer.restore.restorer import Restorer

__all__ = ["RestoreProgress", "Restorer"]
