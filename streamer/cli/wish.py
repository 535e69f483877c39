"""What somebody wants to be drained, or not any more, until the controller has done it.

ask --> stands --> looked at --> held by fewer and fewer --> nothing is held: done
         |  ^                    |`--> nobody else can have the rest: failed
         |  |                    `--> somebody has stopped all moves: failed
         |  `-- asked for again, merged
         `-- replaced by one that was asked for at the same time
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.cli.moves import no_moves, progress
from streamer.errors import KafkaUnavailableError, OperationRefusedError, UnfinishedError

if TYPE_CHECKING:
    from streamer.control.operator import Operator
    from streamer.control.requests import DrainRecord, PlanRecord

__all__ = ["Wish", "as_options", "stopped_drain"]

_ANSWER_S = 30.0


def as_options(names: frozenset[str] | tuple[str, ...]) -> str:
    """These zones and workers as `streamer drain` takes them."""
    ordered = sorted(names, key=lambda name: ("=" not in name, name))
    return " ".join(f"--zone {name}" if "=" in name else f"--worker {name}" for name in ordered)


def stopped_drain(names: frozenset[str]) -> str:
    """What it means for these zones and workers that their drain is stopped."""
    options = as_options(names)
    return (
        f"the drain of {', '.join(sorted(names))} is stopped: its workers keep what they have, and"
        f" are given nothing\n  to go on: streamer drain {options}\n"
        f"  to end it: streamer drain --undo {options}"
    )


@dataclass
class Wish:
    """`places` tells the zone of each worker as it said last; it is asked where zones matter."""

    operator: Operator
    zones: frozenset[str]
    workers: frozenset[str]
    is_undone: bool = False
    answer_s: float = _ANSWER_S
    places: Callable[[], Mapping[str, str]] = dict
    _names: set[str] = field(default_factory=set)
    _awaited: str = ""
    _since_s: float = 0.0
    """Since when no controller has looked at the drain that is awaited."""

    def ask(self) -> DrainRecord:
        """Beside what is drained already. What somebody has stopped of that stays so, unless it is
        asked for here."""
        now, plan = self.operator.draining(), self.operator.plan()
        zones, workers = set(now.zones), set(now.workers)
        if self.is_undone:
            zones, workers = zones - self.zones, workers - self.workers
        else:
            zones, workers = zones | self.zones, workers | self.workers
        stopped = now.stopped(plan.halted if plan else "") - self.zones - self.workers
        asked = self.operator.drain(
            zones=zones, workers=workers, kept=stopped & (zones | workers), follows=now.name
        )
        self._names.add(asked.name)
        self._awaited, self._since_s = asked.name, time.monotonic()
        return asked

    def look(self, plan: PlanRecord | None) -> tuple[str, bool]:
        """What there is to say, and whether that is the end. Raises KafkaUnavailableError where no
        controller looks at it, OperationRefusedError where somebody has taken it back, and
        UnfinishedError where drained workers keep what nobody else can have, or what somebody has
        told them to keep."""
        stands = self.operator.draining()
        if not self._is_met(stands):
            if self.operator.is_informed(stands, self._names):
                raise OperationRefusedError(
                    f"what was asked for was taken back by {stands.by or 'somebody'}",
                    hint="ask them; the same command asks for it again",
                )
            self.ask()
            return "something else was asked for at the same time: asked again for both", False
        now_s, is_answered = time.monotonic(), plan is not None and plan.drain == stands.name
        if is_answered or stands.name != self._awaited:
            self._awaited, self._since_s = stands.name, now_s
        if plan is None or not is_answered:
            if now_s - self._since_s > self.answer_s:
                raise KafkaUnavailableError(
                    f"no controller has looked at the request in {self.answer_s:g} s",
                    hint="it stands, and the next controller finds it; streamer show workers tells"
                    " who is one",
                )
            return "waiting for the controller", False
        if self.is_undone:
            self._refuse_stopped(plan, stands, plan.halted == stands.name)
            return no_moves(plan)
        holding = self._mine(plan.holding)
        is_stopped = not self._named.isdisjoint(stands.stopped(plan.halted))
        self._refuse_stopped(plan, stands, is_stopped and bool(holding))
        return _emptied(plan, holding)

    @property
    def _named(self) -> frozenset[str]:
        return self.zones | self.workers

    def _mine(self, holding: Mapping[str, int]) -> dict[str, int]:
        """Of what drained workers hold, the part that this wish is about."""
        from streamer.config.cluster import zone_tags

        tags = {tag for zone in self.zones for tag in zone_tags(zone)}
        places = self.places() if tags and holding else {}
        return {
            worker: count
            for worker, count in holding.items()
            # One of which no place is known may be in any of the zones.
            if worker in self.workers
            or (tags and (worker not in places or not tags.isdisjoint(zone_tags(places[worker]))))
        }

    def _is_met(self, drain: DrainRecord) -> bool:
        """Whether a drain has in it what is wanted here."""
        drained = self.zones.intersection(drain.zones) | self.workers.intersection(drain.workers)
        return not drained if self.is_undone else drained == self._named

    def _refuse_stopped(self, plan: PlanRecord, stands: DrainRecord, is_stopped: bool) -> None:
        if not is_stopped:
            return
        stop, options = self.operator.stop_asked(), as_options(self._named)
        by = (stop.by if stop else "") or "somebody"
        if self.is_undone:
            raise UnfinishedError(
                f"{by} has stopped all moves: nothing is moved back by this command",
                hint="the workers are given tasks again when others come or go; look at moves and"
                " have them made: streamer rebalance plan",
            )
        held = sum(self._mine(plan.holding).values())
        raise UnfinishedError(
            f"{by} has stopped all moves: {held} tasks and copies stay where they are",
            hint=f"the workers keep these, and are given nothing. To go on: streamer drain"
            f" {options}. To end the drain: streamer drain --undo {options}",
        )


def _emptied(plan: PlanRecord, holding: Mapping[str, int]) -> tuple[str, bool]:
    """Until drained workers say themselves that they have nothing."""
    held = sum(holding.values())
    if not held:
        return "done: the drained workers have let go of everything", True
    named = ", ".join(sorted(holding)[:3]) + (", ..." if len(holding) > 3 else "")
    if all(count <= plan.staying.get(worker, 0) for worker, count in holding.items()):
        modes = "; ".join(f"{mode.name} ends with {mode.until}" for mode in plan.modes)
        raise UnfinishedError(
            f"{held} tasks and copies stay on {named}: nobody else can have them"
            + (f" ({modes})" if modes else ""),
            hint="the drain stands: start workers elsewhere, and they are moved; or take it back"
            " with --undo. Do not stop the drained workers before",
        )
    return f"{held} tasks and copies are still on {named}; {progress(plan)}", False
