"""Quix Streams 3.28.1, in an environment of its own: it requires an older confluent-kafka."""

from __future__ import annotations

from pathlib import Path

from bench.environments import python_with
from bench.systems import Case, System

REQUIREMENT = "quixstreams==3.28.1"
APPLICATION = Path(__file__).with_name("quix_application.py")


def _prepare() -> None:
    python_with(REQUIREMENT)


def _command(case: Case) -> list[str]:
    return [str(python_with(REQUIREMENT)), str(APPLICATION)]


SYSTEMS = (System(name="Quix Streams 3.28.1", command=_command, prepare=_prepare),)
