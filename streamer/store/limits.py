"""Bounds of options that RocksDB itself does not have: beyond them it goes on without a word and
works badly, or ends the process with a crash that names nothing."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from streamer.errors import ConfigError

__all__ = ["LIMITS", "check_levels", "excess"]

_THREADS = (1, 1024)
_LEVELS = 7

LIMITS: Mapping[str, tuple[int, int | None]] = {
    # A block of a few bytes costs an index entry for every row.
    "block_size": (256, None),
    # The system refuses threads at some number, and the library ends the process then.
    "increase_parallelism": _THREADS,
    "max_background_jobs": _THREADS,
    "max_file_opening_threads": _THREADS,
    # Files and levels of nothing are compacted for ever.
    "max_bytes_for_level_base": (4096, None),
    "target_file_size_base": (4096, None),
    "target_file_size_multiplier": (1, None),
    # The binding writes beyond its memory where there are fewer levels.
    "min_level_to_compress": (0, _LEVELS),
    # All levels are allocated at once.
    "num_levels": (1, 100),
    # From 20 on there is no cache, and its first use is a crash.
    "table_cache_num_shard_bits": (-1, 19),
}


def excess(name: str, value: Any) -> str:
    """What is to be said against a value out of bounds; empty when nothing."""
    if isinstance(value, float) and not isfinite(value):
        return "it takes a finite number"
    if name not in LIMITS or not isinstance(value, int) or isinstance(value, bool):
        return ""
    low, high = LIMITS[name]
    if value >= low and (high is None or value <= high):
        return ""
    return f"it takes a number of {low} or more" + ("" if high is None else f", {high} at most")


def check_levels(layer: Mapping[str, Any], place: str) -> None:
    """Raise ConfigError where levels are to be compressed from one on that is not there."""
    levels = layer.get("num_levels", 2 if layer.get("prepare_for_bulk_load") else _LEVELS)
    first = layer.get("min_level_to_compress", 0)
    if first > levels:
        raise ConfigError(
            f"{place}: RocksDB option min_level_to_compress = {first} is wrong: there are {levels}"
            " levels",
            hint="raise num_levels, or lower min_level_to_compress",
        )
