"""`--seed N` replays one life of the cluster; `--rounds N` lives that many."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, default=None, help="replay the life of this seed alone")
    group.addoption("--rounds", type=int, default=None, help="how many lives, from seed 0 on")
