"""What operators ask of the controller, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from streamer.cluster.drains import Drain
from streamer.cluster.goal import copies_named
from streamer.cluster.outlook import judged, outlook, proposal
from streamer.cluster.plan import Plan, World
from streamer.config.cluster import zone_tags
from streamer.control.requests import (
    Answer,
    DrainRecord,
    PauseRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    Request,
)
from streamer.errors import ConfigError
from streamer.ids import TaskId

__all__ = ["TELL_MS", "Wishes"]

# Moves change with every status of a fleet that is on the move.
TELL_MS = 1_000


@dataclass(slots=True)
class Wishes:
    """The requests in force. Each is taken up once: a new controller reads what became of it in
    what its predecessor answered last, in the transaction of the grants that it led to."""

    outcome: tuple[str, str] = ("", "")
    proposal: ProposalRecord | None = None
    predecessor: PlanRecord | None = None
    told: PlanRecord | None = None
    is_stirred: bool = False
    """Something happened since the plan was told."""
    _propose: ProposeRecord | None = None
    _rebalance: RebalanceRecord | None = None
    _told_ms: int | None = None
    _since: dict[str, int] = field(default_factory=dict)

    def remember(self, answer: Answer) -> None:
        """What the predecessor said last."""
        match answer:
            case PlanRecord():
                self.predecessor = answer
                self.outcome = answer.rebalance
                self._since = {mode.name: mode.since_ms for mode in answer.modes}
            case ProposalRecord():
                self.proposal = answer

    def hear(self, request: Request, plan: Plan) -> bool:
        """Take in a request. Returns whether there is something to do."""
        match request:
            case DrainRecord():
                return plan.drains.ask(_drain(request))
            case ProposeRecord(number=number):
                is_new = self.proposal is None or self.proposal.number != number
                self._propose = request if is_new else None
                return is_new
            case RebalanceRecord(number=number):
                is_new = number != self.outcome[0]
                self._rebalance = request if is_new else None
                if is_new and request.stops:
                    plan.drains.stop(request.drain)
                return is_new
            case PauseRecord():
                return False  # No wish of where tasks shall be: see pause.py.

    def stop(self, plan: Plan) -> bool:
        """Go by a stop that was asked for, before the next step is taken. Returns whether there was
        one, and a placement to stay with."""
        request = self._rebalance
        if request is None or not request.stops or not plan.target:
            return False
        self._rebalance = None
        plan.halt()
        plan.placement = judged(plan)
        self.outcome = (request.number, "stopped")
        return True

    def fulfil(self, plan: Plan) -> bool:
        """Go by a rebalance that was asked for, once there is a placement to compare it with.
        Returns whether the plan is another one now."""
        if self.stop(plan):
            return True
        request = self._rebalance
        if request is None or not plan.target:
            return False
        self._rebalance = None
        refusal = self._adopt(request.id, plan)
        self.outcome = (request.number, f"refused: {refusal}" if refusal else "adopted")
        if refusal:
            return False
        plan.placement = judged(plan)
        return True

    def _adopt(self, wanted: str, plan: Plan) -> str:
        """Why not, or ""."""
        known = self.proposal
        if known is None or known.id != wanted:
            return f"no proposal {wanted} is known: plan anew"
        try:
            before, after = copies_named(known.before), copies_named(known.after)
            reasons = {
                (TaskId.parse(move.task), move.target): move.why
                for move in known.moves
                if move.target
            }
        except ConfigError as error:
            return str(error)
        return plan.adopt(before, after, reasons)

    def propose(self, plan: Plan, world: World, *, wall_ms: int) -> ProposalRecord | None:
        """The placement that was asked for, if any was."""
        asked = self._propose
        if asked is None or not plan.target:
            return None
        self._propose = None
        modes = plan.placement.modes if plan.placement else ()
        made = proposal(plan.facts(plan.workers, world), plan.target, modes=modes)
        self.proposal = replace(made, number=asked.number, at_ms=wall_ms)
        return self.proposal

    def hurry(self) -> None:
        """Somebody waits for what there is to tell."""
        self.is_stirred, self._told_ms = True, None

    def is_due(self, now_ms: int) -> bool:
        """Whether to look at what there is to tell: not at once again, nor where all is quiet."""
        if self._told_ms is not None and now_ms - self._told_ms < TELL_MS:
            return False
        is_asked = self.is_stirred or self._propose is not None
        return is_asked or bool(self.told and self.told.moves)

    def tell(
        self, plan: Plan, world: World, *, about: PlanRecord, now_ms: int, wall_ms: int
    ) -> PlanRecord | None:
        """What there is to tell, where that is news. `about` says who tells it, of what shape."""
        self.is_stirred, self._told_ms = False, now_ms
        names = [mode.name for mode in plan.placement.modes] if plan.placement else []
        self._since = {name: self._since.get(name, wall_ms) for name in names}
        record = outlook(plan, world, about=about, rebalance=self.outcome, since=self._since)
        if record == self.told:
            return None
        self.told = record
        return replace(record, at_ms=wall_ms)


def _drain(record: DrainRecord) -> Drain:
    zones = frozenset(tag for zone in record.zones for tag in zone_tags(zone))
    return Drain(frozenset(record.workers), zones, frozenset(record.kept), record.name)
