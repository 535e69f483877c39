"""The sources that the command offers are those of the operation."""

from __future__ import annotations

from streamer.cli.rebuild import _SOURCES
from streamer.operations.rebuild_target import SOURCES


def test_the_command_offers_what_there_is() -> None:
    assert _SOURCES == SOURCES
