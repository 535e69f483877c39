"""Which of many alike scenarios each run of all tests has; `make test-thorough` runs the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

__all__ = ["thorough", "thorough_but"]

# Of a scenario that takes long, and of which others in `make test` try the parts or the like: what
# runs there is to stay below a quarter of an hour on two cores.
thorough = pytest.mark.thorough


def thorough_but(kept: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """`values` for `parametrize`, of which `make test` has those in `kept` alone.

    For scenarios with processes that die at one moment after the other: seconds of a CPU for each,
    and the moments of one kind differ little.
    """
    unknown = [one for one in kept if one not in values]
    assert not unknown, unknown
    return [one if one in kept else _thorough(one) for one in values]


def _thorough(value: Any) -> Any:
    given = value if isinstance(value, tuple) else (value,)
    return pytest.param(*given, marks=thorough)
