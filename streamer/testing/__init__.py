"""Tests of applications: the driver, which runs a topology without Kafka, and the history checker,
which proves of any run that no record was lost, doubled or reordered."""

from __future__ import annotations

from streamer.testing.driver import TopologyTestDriver
from streamer.testing.evidence import cluster_history, driver_history
from streamer.testing.history import History, check, per_key
from streamer.testing.verdict import Verdict

__all__ = [
    "History",
    "TopologyTestDriver",
    "Verdict",
    "check",
    "cluster_history",
    "driver_history",
    "per_key",
]
