"""The settings of a worker's place among the others: membership, zones, copies and their pace."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.config.values import ms, setting

__all__ = ["ClusterSettings", "zone_tags"]


def zone_tags(zone: str) -> tuple[tuple[str, str], ...]:
    """`cloud=a,az=1` as ordered (name, value) pairs, widest first; empty when unset."""
    parts = [part.partition("=") for part in zone.split(",") if part]
    return tuple((name.strip(), value.strip()) for name, _, value in parts)


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """A part of `Config`, which checks them."""

    session_timeout_ms: int = ms(
        6_000,
        "A worker that is silent for so long is taken for dead. Brokers allow 6000 and more by"
        " default; a false alarm costs a hand-over, never data.",
        low=1_000,
        high=3_600_000,
    )
    heartbeat_interval_ms: int = ms(
        2_000, "How often a worker shows that it lives; a third of the session timeout.", low=100
    )
    status_interval_ms: int = ms(
        4_000,
        "How often a worker writes its status when nothing changed. A death is noticed no sooner"
        " than a quarter above it.",
        low=100,
    )
    assignment_partitions: int = setting(
        16,
        "Partitions that the topic of the assignments is created with. A worker reads all that is"
        " written to the partition of its own, so a fleet of hundreds should have as many as"
        " workers; for a few dozen 16 will do. What exists stays as it is.",
        kind="integer",
        unit="partitions",
        low=1,
        high=10_000,
    )
    zone: str = setting(
        "",
        "Where the worker runs, widest first, such as cloud=a,region=eu,az=eu-1. No two copies of a"
        " task are kept in one zone, and one host is never given two.",
        kind="text",
    )
    host: str = setting(
        "",
        "Name of the machine that the worker dies with. Empty: what the system calls itself.",
        kind="text",
    )
    capacity: int = setting(
        100,
        "How much the worker can carry: one of 200 is given twice as much as one of 100.",
        kind="integer",
        low=1,
        high=100_000,
    )
    standby_replicas: int = setting(
        0,
        "Copies of each task that other workers keep up to date, to take over without restoring"
        " (num.standby.replicas).",
        kind="integer",
        low=0,
        high=16,
    )
    acceptable_recovery_lag: int = setting(
        10_000,
        "A copy that has no more than this to read of its changelogs is warm: it may take over, and"
        " may answer queries in place of an owner that does not.",
        kind="integer",
        unit="records",
        low=0,
    )
    replay_lag_max: int = setting(
        1_000_000,
        "While the application is further behind its input than this, a replay that has yet far to"
        " go stands still, until it is half of that. 0 is never.",
        kind="integer",
        unit="records",
        low=0,
    )
    max_warmup_replicas: int = setting(
        64,
        "Copies that may be built at the same time in the whole application, for tasks that are to"
        " move and for standbys that are missing.",
        kind="integer",
        low=1,
    )
    max_warmup_replicas_per_worker: int = setting(
        4, "Copies that one worker may build at the same time.", kind="integer", low=1
    )
    rebalance_delay_ms: int = ms(
        60_000,
        "How long a worker that is gone is waited for before others build the copies it kept, so"
        " that a restart moves no state. Its tasks are taken over at once.",
        low=0,
    )
    zone_policy: str = setting(
        "strict",
        "Where too few zones live for all copies: strict leaves copies out until a zone is back;"
        " relaxed keeps them in a zone that has one already, and says so.",
        kind="choice",
        choices=("strict", "relaxed"),
    )

    @property
    def zone_tags(self) -> tuple[tuple[str, str], ...]:
        """The zone as ordered (name, value) pairs, widest first; empty when unset."""
        return zone_tags(self.zone)
