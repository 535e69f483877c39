"""With how many examples a property is tried: a tenth of them where one is in a hurry."""

from __future__ import annotations

import os

__all__ = ["examples"]

# What `make test-fast` sets.
_IS_IN_A_HURRY = os.environ.get("STREAMER_TEST_HURRY", "") == "1"


def examples(count: int) -> int:
    """So many in `make test`."""
    return max(count // 10, 5) if _IS_IN_A_HURRY else count
