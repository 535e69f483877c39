"""Small applications that the scenarios run as real processes.

Each is named by STREAMER_TEST_APPLICATION, reads `<name>.in` and writes `<name>.<output>`.
"""

from __future__ import annotations

import os

NAME = os.environ.get("STREAMER_TEST_APPLICATION", "test")


def topic(name: str) -> str:
    return f"{NAME}.{name}"
