"""The rig of the broker tests: real workers on a real Kafka."""

from __future__ import annotations

from tests.broker.conftest import (
    application,
    broker,
    kafka,
    names,
    sandbox,
    wait_until_fixture,
)

__all__ = ["application", "broker", "kafka", "names", "sandbox", "wait_until_fixture"]
