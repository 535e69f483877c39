"""For longer than sessions and transactions last by default settings.

The broker stands still, or is stopped and comes back with another leader epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamer.sandbox import Sandbox
from tests.broker.away import outlive
from tests.broker.conftest import Kafka

AWAY_S = 70.0


@pytest.fixture
def own() -> Iterator[Sandbox]:
    with Sandbox(heap_mib=256) as running:
        yield running


@pytest.fixture
def kafka(own: Sandbox) -> Kafka:
    return Kafka(own.bootstrap_servers)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["frozen", "stopped"])
def test_two_workers_go_on_by_themselves(
    own: Sandbox, application: Any, wait_until: Callable[..., None], how: str
) -> None:
    ways = {"frozen": (own.pause, own.resume), "stopped": (own.shut, own.restart)}
    take_away, bring_back = ways[how]
    outlive(
        application,
        take_away,
        bring_back,
        away_s=AWAY_S,
        wait_until=wait_until,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=2_000,
        # A loop that hangs afterwards writes into the log where it does.
        processing_timeout_ms=90_000,
    )
