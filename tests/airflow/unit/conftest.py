"""Fixtures of unit tests with operators; those that need Airflow say so by asking for `rig`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamer import failpoints
from tests.airflow.unit.rig import Rig
from tests.unit.operations.shelf import Warehouse


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


@pytest.fixture
def rig(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(warehouse, monkeypatch)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail",
        lambda **given: asked.append(given),
    )
    return asked


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()
