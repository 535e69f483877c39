"""A warehouse of its own for each test, and nothing left armed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamer import failpoints
from tests.unit.operations.shelf import Warehouse


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()
