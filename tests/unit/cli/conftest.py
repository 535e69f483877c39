from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_level() -> Iterator[None]:
    """A command sets the level of the process's log, which ends with it; here others come after."""
    logger = logging.getLogger("streamer")
    level = logger.level
    yield
    logger.setLevel(level)
