"""Tests of applications: the driver, which runs a topology without Kafka, and the history checker,
which proves of any run that no record was lost, doubled or reordered."""

from __future__ import annotations

from streamer.testing.driver import TopologyTestDriver

__all__ = ["TopologyTestDriver"]
