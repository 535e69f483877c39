"""The short version of `make chaos`: a fleet in three zones under load, in trouble for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.broker.fleet_trouble import outlive

pytestmark = pytest.mark.long


def test_the_history_is_exact(application: Any, wait_until: Callable[..., None]) -> None:
    outlive(application, wait_until, seconds=20, pause_s=3)
