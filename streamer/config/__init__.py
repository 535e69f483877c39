"""Settings: `Config` holds them, `load` collects them, `budget` divides the memory.

`model` declares every setting once; the reference page of the documentation is written from there.
"""

from __future__ import annotations

from streamer.config.memory import Budget, budget
from streamer.config.model import Config, settings
from streamer.config.sources import Resolved, check_keywords, load, resolve
from streamer.config.values import Setting, bytes_of

__all__ = [
    "Budget",
    "Config",
    "Resolved",
    "Setting",
    "budget",
    "bytes_of",
    "check_keywords",
    "load",
    "resolve",
    "settings",
]
