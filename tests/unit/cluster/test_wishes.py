"""What operators ask for: drains, proposals, and rebalances that are applied as they were shown."""

from __future__ import annotations

from streamer.assignment.facts import Copies, Load, Site
from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.plan import Plan, Policy, World
from streamer.cluster.wishes import TELL_MS, Wishes
from streamer.control.requests import (
    DrainRecord,
    PlanRecord,
    ProposalRecord,
    ProposeRecord,
    RebalanceRecord,
    decode,
    encode,
)
from streamer.control.violations import violations
from streamer.ids import TaskId

TASKS = frozenset(TaskId(0, number) for number in range(4))
ZONE_A, ZONE_B = (("az", "a"),), (("az", "b"),)


class Office:
    """A plan for workers that obey at once, and the wishes of its operators."""

    def __init__(self, *workers: str, standbys: int = 0) -> None:
        self.plan = Plan(TASKS, Policy(standby_replicas=standbys))
        self.wishes = Wishes()
        self.now_ms = 0
        self.sites = {each: Site(ZONE_A if each < "c" else ZONE_B, each) for each in workers}
        self.loads: dict[TaskId, Load] = {}
        self.settle()

    def world(self) -> World:
        lags = {task: dict.fromkeys(each, 0) for task, each in self.plan.step.standbys.items()}
        return World(self.sites, lags, self.loads, self.plan.step.actives)

    def turn(self) -> None:
        self.now_ms += SETTLE_MS
        workers = self.sites.keys()
        self.plan.update(workers, workers, now_ms=self.now_ms, is_news=True, look=self.world)

    def settle(self) -> None:
        for _ in range(6):
            self.turn()
            if self.wishes.fulfil(self.plan):
                self.turn()

    def tell(self) -> PlanRecord | None:
        self.now_ms += TELL_MS
        about = PlanRecord(controller="boss")
        return self.wishes.tell(self.plan, self.world(), about=about, now_ms=self.now_ms, wall_ms=5)

    def propose(self) -> ProposalRecord:
        assert self.wishes.hear(ProposeRecord(number=str(self.now_ms)), self.plan)
        made = self.wishes.propose(self.plan, self.world(), wall_ms=7)
        assert made is not None
        return made

    def had(self) -> dict[str, int]:
        owners = list(self.plan.step.actives.values())
        return {worker: owners.count(worker) for worker in sorted(set(owners))}

    def drift(self) -> None:
        """The tasks of `a` have come to take nearly all of the records."""
        heavy = {task for task, worker in self.plan.step.actives.items() if worker == "a"}
        self.loads = {task: Load(1_000, 900 if task in heavy else 100) for task in TASKS}


def test_a_drained_worker_ends_up_with_nothing_and_gets_it_back() -> None:
    office = Office("a", "b")
    assert office.wishes.hear(DrainRecord(workers=("a",)), office.plan)
    office.settle()
    assert office.had() == {"b": 4}
    assert office.plan.drained == {"a"}
    told = office.tell()
    assert told is not None
    assert told.draining == ("a",)
    assert office.wishes.hear(DrainRecord(), office.plan)
    office.settle()
    assert office.had() == {"a": 2, "b": 2}


def test_a_zone_is_drained_by_its_tag_whoever_joins_it() -> None:
    office = Office("a", "b", "c", "d")
    office.wishes.hear(DrainRecord(zones=("az=a",)), office.plan)
    office.settle()
    assert office.had() == {"c": 2, "d": 2}
    office.sites["aa"] = Site(ZONE_A, "aa")
    office.settle()
    assert office.had() == {"c": 2, "d": 2}


def test_a_drain_that_stands_in_the_log_is_no_news() -> None:
    office = Office("a", "b")
    assert office.wishes.hear(DrainRecord(workers=("a",)), office.plan)
    assert not office.wishes.hear(DrainRecord(workers=("a",), at_ms=9), office.plan)


def test_nothing_is_proposed_for_what_is_as_it_should_be() -> None:
    assert not Office("a", "b").propose().after


def test_a_proposal_is_applied_exactly_and_once() -> None:
    office = Office("a", "b")
    office.drift()
    made = office.propose()
    assert made.after
    assert made.spread_before["rate"] > made.spread_after["rate"]
    assert office.wishes.hear(RebalanceRecord(number="1", id=made.id), office.plan)
    office.settle()
    told = office.tell()
    assert told is not None
    assert told.rebalance == ("1", "adopted")
    assert told.moves_left == 0
    placed = {str(task): (copies.active, *copies.standbys) for task, copies in made_copies(office)}
    assert placed | made.after == placed
    # A new controller finds both in the log, and does not do it again.
    later = Wishes()
    later.remember(decode(PlanRecord, "t", encode(told)))
    later.remember(decode(ProposalRecord, "t", encode(made)))
    assert not later.hear(RebalanceRecord(number="1", id=made.id), office.plan)
    assert not later.hear(ProposeRecord(number=made.number), office.plan)


def made_copies(office: Office) -> list[tuple[TaskId, Copies]]:
    return sorted(office.plan.target.items())


def test_a_proposal_is_refused_when_the_placement_has_changed_since() -> None:
    office = Office("a", "b")
    office.drift()
    made = office.propose()
    office.sites["c"] = Site(ZONE_B, "c")
    office.settle()
    office.wishes.hear(RebalanceRecord(number="2", id=made.id), office.plan)
    before = dict(office.plan.target)
    office.settle()
    assert office.plan.target == before
    assert office.wishes.outcome[1].startswith("refused: the placement of task")


def in_one_zone(office: Office) -> RebalanceRecord:
    """The wish to have both copies of the first task in one zone, as somebody has proposed it."""
    first = TaskId(0, 0)
    copies = office.plan.target[first]
    before, after = (str(copies.active), *copies.standbys), ("a", "b")
    office.wishes.proposal = ProposalRecord(
        id="p", before={str(first): before}, after={str(first): after}
    )
    return RebalanceRecord(number="1", id="p")


def test_what_was_adopted_is_told_as_it_is_and_a_proposal_says_what_it_mends() -> None:
    office = Office("a", "b", "c", "d", standbys=1)
    assert not office.propose().modes_before
    office.wishes.hear(in_one_zone(office), office.plan)
    office.settle()
    told = office.tell()
    assert told is not None
    assert [(mode.name, mode.concerns) for mode in told.modes] == [("zone_violations", 1)]
    made = office.propose()
    assert made.modes_before[0].examples == ("0_0",)
    assert not made.modes
    assert len(violations(made, spread_percent_max=1_000)) == 1
    office.wishes.hear(RebalanceRecord(number="2", id=made.id), office.plan)
    office.settle()
    told = office.tell()
    assert told is not None
    assert not told.modes
    assert not office.propose().after


def test_what_a_stop_leaves_amiss_is_told_and_proposed_to_be_mended() -> None:
    office = Office("a", "b", "c", "d", standbys=1)
    office.wishes.hear(in_one_zone(office), office.plan)
    office.settle()
    made = office.propose()
    office.wishes.hear(RebalanceRecord(number="2", id=made.id), office.plan)
    assert office.wishes.fulfil(office.plan)
    office.wishes.hear(RebalanceRecord(number="3", stops=True), office.plan)
    assert office.wishes.fulfil(office.plan)
    office.settle()
    told = office.tell()
    assert told is not None
    assert told.rebalance == ("3", "stopped")
    assert [mode.name for mode in told.modes] == ["zone_violations"]
    assert office.propose().modes_before[0].name == "zone_violations"


def test_a_proposal_that_nobody_made_is_refused() -> None:
    office = Office("a", "b")
    office.wishes.hear(RebalanceRecord(number="3", id="made up"), office.plan)
    office.settle()
    assert office.wishes.outcome == ("3", "refused: no proposal made up is known: plan anew")


def test_what_is_under_way_can_be_stopped() -> None:
    office = Office("a", "b")
    office.wishes.hear(DrainRecord(workers=("a",)), office.plan)
    office.turn()  # copies are built, and nothing has moved yet
    assert office.had() == {"a": 2, "b": 2}
    office.wishes.hear(RebalanceRecord(number="4", stops=True), office.plan)
    assert office.wishes.fulfil(office.plan)
    office.settle()
    assert office.had() == {"a": 2, "b": 2}
    assert office.wishes.outcome == ("4", "stopped")


def test_the_plan_is_told_when_something_happened_and_not_too_often() -> None:
    office = Office("a", "b")
    wishes = office.wishes
    assert not wishes.is_due(office.now_ms)
    wishes.is_stirred = True
    assert wishes.is_due(office.now_ms)
    first = office.tell()
    assert first is not None
    assert (first.at_ms, first.moves_left) == (5, 0)
    assert office.tell() is None  # it would say the same
    wishes.is_stirred = True
    assert not wishes.is_due(office.now_ms)
    assert wishes.is_due(office.now_ms + TELL_MS)


def test_what_was_proposed_for_a_worker_that_is_drained_by_now_is_refused() -> None:
    office = Office("a", "b", "c")
    [task, *_] = sorted(t for t, worker in office.plan.step.actives.items() if worker == "a")
    made = ProposalRecord(id="p", before={str(task): ("a",)}, after={str(task): ("b",)})
    office.wishes.remember(made)
    office.wishes.hear(DrainRecord(workers=("b",)), office.plan)
    office.settle()
    office.wishes.hear(RebalanceRecord(number="5", id="p"), office.plan)
    office.settle()
    assert office.wishes.outcome == ("5", "refused: worker b is drained")
    assert "b" not in office.had()
