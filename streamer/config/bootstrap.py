"""The settings of restores from snapshots: when they are worth it, and how many run at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.config.values import ms, setting

__all__ = ["BootstrapSettings"]


@dataclass(frozen=True, kw_only=True)
class BootstrapSettings:
    """A part of `Config`, which checks them."""

    bootstrap_from: str = setting(
        "auto",
        "Where a state that is missing or far behind comes from: auto takes what is estimated to be"
        " faster, a snapshot of snapshot_repository or the changelog; changelog takes no snapshot"
        " as long as the changelog has everything.",
        kind="choice",
        choices=("auto", "changelog"),
    )
    bootstrap_gain_ms: int = ms(
        5_000,
        "A restore from the changelog that is estimated to take no longer than this looks for no"
        " snapshot, and a snapshot has to save as much.",
        low=0,
    )
    bootstrap_records_per_second: int = setting(
        200_000,
        "How many offsets of a changelog a restore is taken to read in a second, where it is"
        " compared with a snapshot.",
        kind="integer",
        unit="records",
        low=1,
    )
    bootstrap_fetch_bytes_per_second: int = setting(
        100 << 20,
        "How many bytes of a snapshot are taken to arrive in a second, where it is compared with"
        " the changelog. It limits nothing: snapshot_bytes_per_second does.",
        kind="size",
        unit="bytes",
        low=1,
    )
    bootstrap_parallel: int = setting(
        4,
        "Snapshots that one worker fetches at the same time, each with snapshot_parallel_transfers"
        " files.",
        kind="integer",
        low=1,
        high=64,
    )
    snapshot_export_dir: Path | None = setting(
        None,
        "Directory of this host where a worker leaves a snapshot of a task that it processes, for"
        " the host which pulls it: streamer rebuild --from active. Unset: that is refused.",
        kind="path",
    )
    snapshot_export_address: str = setting(
        "",
        "How other hosts reach snapshot_export_dir of a host, with {host} for its name:"
        " ssh://user@{host}/path.",
        kind="text",
    )
