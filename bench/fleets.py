"""Fleets for the placement benchmark: workers in zones, tasks with sizes, and what happens to them.

All is drawn from a seed, so that the same arguments give the same fleet everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamer.assignment.facts import Facts, Load, Placement, Site
from streamer.ids import TaskId

LARGEST_BYTES = 10**9
LARGEST_RATE = 10**6
SUBTOPOLOGIES = 3


@dataclass(frozen=True)
class Fleet:
    """``zipf`` is the exponent of sizes and rates, each in an order of its own; 0 is all alike."""

    hosts: int
    per_host: int
    tasks: int
    zones: int = 3
    standbys: int = 1
    zipf: float = 0.0
    capacities: tuple[int, ...] = (100,)
    seed: int = 1

    @property
    def workers(self) -> int:
        return self.hosts * self.per_host

    def facts(self) -> Facts:
        """The fleet with nothing placed yet."""
        chance = random.Random(self.seed)
        workers = {
            f"h{host:03}-{number}": Site(
                zone=(("cloud", "a"), ("region", "eu"), ("az", f"eu-{host % self.zones}")),
                host=f"h{host:03}",
                capacity=chance.choice(self.capacities),
            )
            for host in range(self.hosts)
            for number in range(self.per_host)
        }
        sizes = self._loads(LARGEST_BYTES, chance)
        rates = self._loads(LARGEST_RATE, chance)
        tasks = {
            TaskId(at % SUBTOPOLOGIES, at // SUBTOPOLOGIES): Load(bytes=size, rate=rate)
            for at, (size, rate) in enumerate(zip(sizes, rates, strict=True))
        }
        return Facts(workers=workers, tasks=tasks, standby_replicas=self.standbys)

    def _loads(self, largest: int, chance: random.Random) -> Sequence[int]:
        ranks = list(range(1, self.tasks + 1))
        chance.shuffle(ranks)
        return [int(largest / rank**self.zipf) for rank in ranks]


def carried_out(facts: Facts, placement: Placement) -> Facts:
    """The same fleet once every copy is where it shall be, and warm."""
    warm = {task: frozenset(copies.workers) for task, copies in placement.copies.items()}
    return replace(facts, previous=placement.copies, warm=warm)


def without_host(facts: Facts, number: int) -> Facts:
    gone = f"h{number:03}-"
    workers = {name: site for name, site in facts.workers.items() if not name.startswith(gone)}
    return replace(facts, workers=workers)


def without_zone(facts: Facts, number: int) -> Facts:
    gone = ("az", f"eu-{number}")
    workers = {name: site for name, site in facts.workers.items() if gone not in site.zone}
    return replace(facts, workers=workers)


def grown(facts: Facts, seed: int) -> Facts:
    """Every size and rate has become another, between three fifths and twice of what it was."""
    chance = random.Random(seed)
    tasks = {
        task: replace(
            load,
            bytes=int(load.bytes * chance.uniform(0.6, 2.0)),
            rate=int(load.rate * chance.uniform(0.6, 2.0)),
        )
        for task, load in sorted(facts.tasks.items())
    }
    return replace(facts, tasks=tasks)
