"""A fleet in three zones under load, ten minutes for each seed.

`STREAMER_CHAOS_SEED` repeats the choices of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.broker.fleet_trouble import outlive

ROUNDS = 3


@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_history_is_exact(
    application: Any, wait_until: Callable[..., None], number: int
) -> None:
    del number
    outlive(application, wait_until, seconds=600, pause_s=6)
