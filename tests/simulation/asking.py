"""What an operator may ask a controller for, sensible or not."""

from __future__ import annotations

import random

from streamer.control.requests import (
    DrainRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    Request,
)
from tests.simulation.kafka import Kafka

__all__ = ["asked"]


def asked(dice: random.Random, kafka: Kafka, number: str) -> Request:
    match dice.choice(("drain", "drain", "fill", "propose", "apply", "stop")):
        case "drain":
            return DrainRecord(workers=(f"w{dice.randrange(5)}",))
        case "fill":
            return DrainRecord()
        case "propose":
            return ProposeRecord(number=number)
        case "stop":
            return RebalanceRecord(number=number, stops=True)
    made = ["none", *(p.id for p in kafka.operations if isinstance(p, ProposalRecord))]
    return RebalanceRecord(number=number, id=made[-1])
