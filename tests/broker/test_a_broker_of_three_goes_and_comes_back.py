"""One of three brokers is killed under busy workers and comes back: nobody loses a task.

`make chaos` has it three times, with the time that Kafka takes by default, and with a worker that
leaves and one that comes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamer.sandbox import SandboxCluster
from tests.broker.conftest import Kafka
from tests.broker.several import outlive

pytestmark = pytest.mark.long


@pytest.fixture
def own() -> Iterator[SandboxCluster]:
    with SandboxCluster() as running:
        yield running


@pytest.fixture
def kafka(own: SandboxCluster) -> Kafka:
    return Kafka(own.bootstrap_servers)


@pytest.mark.timeout(600)
def test_the_history_is_exact_and_nobody_loses_a_task(
    own: SandboxCluster, application: Any, wait_until: Callable[..., None]
) -> None:
    outlive(own, application, rounds=1, wait_until=wait_until)
