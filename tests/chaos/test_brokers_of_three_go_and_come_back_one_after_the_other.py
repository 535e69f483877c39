"""Three times a broker of three is killed under busy workers, given up after 9 s as by default, and
comes back; meanwhile a worker leaves and another one comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamer.sandbox import SandboxCluster
from tests.broker.conftest import Kafka
from tests.broker.several import outlive


@pytest.fixture
def own() -> Iterator[SandboxCluster]:
    with SandboxCluster(settings={"broker.session.timeout.ms": "9000"}) as running:
        yield running


@pytest.fixture
def kafka(own: SandboxCluster) -> Kafka:
    return Kafka(own.bootstrap_servers)


@pytest.mark.timeout(1_500)
def test_the_history_is_exact_and_nobody_loses_a_task(
    own: SandboxCluster, application: Any, wait_until: Callable[..., None]
) -> None:
    outlive(own, application, rounds=3, hands_over=True, wait_until=wait_until)
