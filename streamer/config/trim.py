"""The settings of trims: on what the deletion of records of a changelog may rest."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.config.values import setting

__all__ = ["TrimSettings"]


@dataclass(frozen=True, kw_only=True)
class TrimSettings:
    """A part of `Config`, which checks them."""

    trim_snapshots_min: int = setting(
        2,
        "Verified snapshots of a task that a trim leaves able to be restored from: a changelog is"
        " never cut above the oldest of so many. With 2 the newest may prove to be damaged.",
        kind="integer",
        unit="snapshots",
        low=1,
        high=20,
    )
    trim_verified_level: str = setting(
        "contents",
        "How thoroughly such a snapshot must have been verified at the least: files looks at names"
        " and sizes, contents reads each byte, restored has restored it.",
        kind="choice",
        choices=("files", "contents", "restored"),
    )
    trim_percent_max: int = setting(
        50,
        "Most of a changelog that one trim takes, in percent of its offsets, unless it is asked for"
        " more (--beyond-cap).",
        kind="integer",
        unit="percent",
        low=1,
        high=100,
    )
