"""A process of the simulation in a pause: what the worker's loop does of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.cluster.seat import Desired
from tests.simulation.kafka import RECORDER

if TYPE_CHECKING:
    from tests.simulation.process import Process

__all__ = ["check_layout", "follow_pause"]


def follow_pause(process: Process, desired: Desired) -> bool:
    """Whether the turn goes on: looking at Kafka takes a while."""
    kept, kafka, now_ms = process.kept, process.kafka, process.clock.monotonic_ms()
    match kept.look(desired.paused, now_ms):
        case "pause" if process.is_fenced:  # It has to commit.
            process.start_again()
            return False
        case "pause":
            kept.keep(desired.paused, now_ms, desired.pause_ms)
        case "resume":
            kept.begin()
        case "end" if not process.is_ending:
            kafka.initialise(RECORDER)
            process.is_ending = True
            return False
        case "end" if kafka.layout > process.work.layout:
            process.is_leaving = True
            return False
        case "end":
            kept.end()
    process.is_ending = False
    return True


def check_layout(process: Process) -> None:
    """What it processes now, it processes under the layout that is recorded."""
    is_processing = "running" in process.owned.values() and not process.kept.number
    if not is_processing or process.is_fenced:
        return
    assert process.kafka.layout <= process.work.layout, (
        f"{process.worker} {process.seat.incarnation} processes under layout {process.work.layout}"
        f" after layout {process.kafka.layout} was recorded"
    )
