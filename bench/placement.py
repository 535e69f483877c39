"""How long does it take to place every task, and how many bytes move when something changes?

Large fleets are planned, and planned again after a host and after a zone are lost. Small ones, on
which an exact solver finishes, tell how near the moved bytes are to the fewest possible.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.exact import judge
from bench.fleets import Fleet, carried_out, grown, without_host, without_zone
from bench.options import Options
from bench.report import Column, Row
from bench.run import failure, say
from streamer.assignment.facts import Facts, Placement
from streamer.assignment.place import place

TITLE = "placement"
COLUMNS = (
    Column("case", "case"),
    Column("workers", "workers", ","),
    Column("tasks", "tasks", ","),
    Column("zones", "zones", ","),
    Column("plan_s", "plan, CPU s", ".2f", spread=True),
    Column("replan_host_s", "host lost, CPU s", ".2f", spread=True),
    Column("replan_zone_s", "zone lost, CPU s", ".2f", spread=True),
    Column("moved_ratio", "moved to fewest", ".3f"),
    Column("worst_ratio", "worst", ".3f"),
    Column("instances", "instances", ","),
    Column("fewest", "fewest is"),
    Column("correct", "correct"),
)
MIXED = (50, 100, 100, 200)


@dataclass(frozen=True)
class Large:
    """Compared with the bytes of the lost copies: these have to be built again by anybody."""

    title: str
    fleet: Fleet

    def row(self) -> dict[str, object]:
        facts = self.fleet.facts()
        first, plan_s = _timed(facts)
        running = carried_out(facts, first)
        smaller = without_host(running, self.fleet.hosts // 2)
        after, host_s = _timed(smaller)
        halved = without_zone(running, 1)
        rest, zone_s = _timed(halved)
        correct = all(
            _is_right(*each) for each in ((facts, first), (smaller, after), (halved, rest))
        )
        return {
            "plan_s": plan_s,
            "replan_host_s": host_s,
            "replan_zone_s": zone_s,
            "moved_ratio": after.moved_bytes / _lost_bytes(smaller),
            "moved_ratio_zone": rest.moved_bytes / _lost_bytes(halved),
            "instances": 1,
            "fewest": "the lost copies",
            "correct": correct and not place(running).moves,
        }


@dataclass(frozen=True)
class Small:
    """Compared with an exact solver, over several instances of each change."""

    title: str
    fleet: Fleet
    seeds: int = 4

    def row(self) -> dict[str, object]:
        moved = least = 0.0
        worst = 1.0
        solved = 0
        started = time.process_time()
        facts = self.fleet.facts()
        place(facts)
        plan_s = time.process_time() - started
        for instance in self._instances():
            verdict = judge(instance)
            if verdict.least is not None and verdict.ratio is not None:
                moved, least = moved + verdict.moved, least + verdict.least
                worst = max(worst, verdict.ratio)
                solved += 1
        return {
            "plan_s": plan_s,
            "moved_ratio": moved / least if least else 1.0,
            "worst_ratio": worst,
            "instances": solved,
            "fewest": "exact",
            "correct": solved > 0,
        }

    def _instances(self) -> Iterator[Facts]:
        for seed in range(self.seeds):
            for standbys in (0, 1):
                for capacities in ((100,), (50, 100, 200)):
                    yield from changes(
                        Fleet(
                            hosts=self.fleet.hosts,
                            per_host=1,
                            tasks=self.fleet.tasks,
                            standbys=standbys,
                            zipf=self.fleet.zipf,
                            capacities=capacities,
                            seed=seed,
                        )
                    )


Case = Large | Small
SYSTEMS: tuple[Case, ...] = (
    *(
        Small(f"small, {name}", Fleet(hosts=7, per_host=1, tasks=28, zipf=zipf))
        for name, zipf in (("alike", 0.0), ("Zipf 0.5", 0.5), ("Zipf 0.8", 0.8))
    ),
    *(
        Large(f"{hosts} x 3, {name}", Fleet(hosts, 3, 30 * hosts, zipf=zipf, capacities=capacities))
        for hosts in (40, 120, 400)
        for name, zipf, capacities in (
            ("alike", 0.0, (100,)),
            ("Zipf 0.8", 0.8, (100,)),
            ("Zipf 1.0, capacities 1 to 4", 1.0, MIXED),
        )
    ),
)


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a case as soon as they are done."""
    for case in options.chosen(SYSTEMS):
        rows: list[Row] = []
        for turn in range(1, options.runs + 1):
            say(f"run {turn} of {options.runs}: {case.title}")
            row: dict[str, object] = {
                "case": case.title,
                "workers": case.fleet.workers,
                "tasks": case.fleet.tasks,
                "zones": case.fleet.zones,
            }
            try:
                row |= case.row()
            except Exception as error:
                row |= {"correct": False, "error": failure(error)}
            rows.append(row)
        emit(rows)


def changes(fleet: Fleet) -> Iterator[Facts]:
    """A worker has joined, another is gone, the sizes have changed."""
    facts = fleet.facts()
    fewer = without_host(facts, fleet.hosts - 1)
    joined = carried_out(fewer, place(fewer))
    yield Facts(
        facts.workers, facts.tasks, facts.standby_replicas, joined.previous, warm=joined.warm
    )
    running = carried_out(facts, place(facts))
    yield without_host(running, fleet.seed % fleet.hosts)
    yield grown(running, fleet.seed)


def _timed(facts: Facts) -> tuple[Placement, float]:
    started = time.process_time()
    placement = place(facts)
    return placement, time.process_time() - started


def _lost_bytes(facts: Facts) -> int:
    return sum(
        facts.tasks[task].bytes
        for task, copies in facts.previous.items()
        for name in copies.workers
        if name not in facts.workers
    )


def _is_right(facts: Facts, placement: Placement) -> bool:
    """Every task has all its copies, in as many zones; who took over was warm."""
    for task, copies in placement.copies.items():
        zones = {facts.workers[name].zone for name in copies.workers}
        if copies.active is None or len(zones) != 1 + facts.standby_replicas:
            return False
        before = facts.previous.get(task)
        warm = facts.warm.get(task, frozenset()) & facts.workers.keys()
        if before and before.active not in facts.workers and warm and copies.active not in warm:
            return False
    return True
