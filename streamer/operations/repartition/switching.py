"""The switch: one pause, in which everything comes to its end, and one record.

    near      feeds, copies and the proof are so near to the end that little is left
    pause     every worker commits and stops; what the application sent to itself is worked off
    drain     the feeds copy the rest, and the rest is proven
    switch    layout, positions and where the tasks go: one transaction, which ends the pause

The pause has a lease. Whatever fails before the record ends the pause, and the application goes on
as before; a process that dies here leaves it to the lease. What comes too late is refused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from streamer import failpoints
from streamer.control.layouts import LayoutRecord
from streamer.errors import OperationRefusedError, StreamerError, UnfinishedError
from streamer.feed.plan import FeedPlan
from streamer.feed.proof import FeedCut, take_cut
from streamer.ids import TopicPartition
from streamer.operations.repartition import proofs
from streamer.operations.repartition.beside import BEHIND_MAX, behind, who_is_missing
from streamer.operations.repartition.copies import goal_of, not_running, ordered, placed
from streamer.operations.repartition.feeding import LAG_MAX, lag_of
from streamer.operations.repartition.keeping import keep_shadows
from streamer.operations.repartition.own_topics import own_places
from streamer.operations.repartition.ports import Right, Row, World
from streamer.operations.repartition.positions import (
    expecting,
    next_positions,
    read_by,
    read_by_all,
    still_closing,
)
from streamer.operations.repartition.request import Asked
from streamer.operations.work import Work

__all__ = [
    "LEASE_MS",
    "STRAYS_HINT",
    "Switching",
    "grow",
    "is_switched",
    "prove_all",
    "ungrown",
    "unread",
]

_log = logging.getLogger(__name__)

STRAYS_HINT = (
    "a topic was given partitions lately, and producers may still place keys by the former number;"
    " a task stops to expect that stray_quiet_ms after the last one, and has to come as far as it"
    " has forwarded"
)

# Twice what the pause may take: a worker counts it from when it began to keep it.
LEASE_MS = 30_000
_HELD_S = 10.0
_PAUSE_S = 15.0
_CUT_S = 30.0
_READ_BACK_S = 86_400.0
# Records that the application has sent to itself, and that are worked off inside the pause.
_UNREAD_MAX = 10_000
# Read back inside the pause, with a tenth of a second for a million.
_UNPROVEN_MAX = 100_000
# The same where a function of the application is called for each row.
_UNPROVEN_CALLED_MAX = 10_000
_FEW_TRIES = 3


def is_switched(world: World, asked: Asked) -> bool:
    """Whether the next layout, or one after it, is recorded."""
    layout, _by = world.layouts.recorded()
    return layout is not None and layout.number >= asked.after.number


def ungrown(world: World, asked: Asked) -> dict[str, int]:
    """The topics that the recorded layout has grown, as it was asked for, and that have fewer
    partitions yet. Of another layout there are none, whoever recorded it."""
    if not asked.grown:
        return {}
    layout, _by = world.layouts.recorded()
    known = {} if layout is None else layout.subtopologies
    there = world.topics.topics()
    return {
        topic: width
        for number in asked.moved
        if number in known and known[number].mode == "grow"
        for topic, one in known[number].external.items()
        if (width := asked.grown.get(topic, 0)) == one.partitions > there.get(topic, 0)
    }


def grow(world: World, asked: Asked) -> None:
    """Give topics their partitions, once the layout is recorded that has them. Not before: workers
    of the former layout would process what producers write there by the new number."""
    if wanted := ungrown(world, asked):
        world.topics.grow(wanted)
        failpoints.hit("repartition.after_growth")


def unread(world: World, asked: Asked, *, is_stable: bool) -> int:
    """Offsets that the application has sent to itself and not committed as read; where that is to
    be `is_stable`, once no transaction is open, and with the tasks that have final results left to
    pass on. Where it is 0 then, while nothing else is read, all is worked off: what is committed by
    now can add nothing to a topic whose end is looked up after it."""
    return sum(_unread(world, record, is_stable=is_stable) for record in asked.sending)


def _unread(world: World, record: LayoutRecord, *, is_stable: bool) -> int:
    ask = world.ports.committed if is_stable else world.ports.known
    own = own_places(record)
    committed = ask(record.application, read_by_all(record) if is_stable else own)
    starts, ends = world.ports.starts(own), world.ports.ends(own)
    at = {
        place: committed[place].position if place in committed else starts[place] for place in own
    }
    closing = still_closing(record, committed) if is_stable else []
    return sum(max(ends[place] - at[place], 0) for place in own) + len(closing)


def prove_all(world: World, asked: Asked, work: Work) -> int:
    """Take a cut, and prove all up to it while feeds go on; how many records were fed by then."""
    feeding, ports = world.feeding(asked, work.ensure_held), world.ports
    # Those that have begun have ended what a dead process left open.
    while not 0 <= (lag := lag_of(feeding)) <= LAG_MAX:
        work.progress(phase="come near", held_by=f"the feeds, which are {lag:,} offsets behind")
        world.wait()
    feeding.halt()
    cuts = [take_cut(plan, ports, timeout_s=_CUT_S) for plan in asked.feeds]

    def prove(plan: FeedPlan, cut: FeedCut) -> None:
        since = proofs.noted(plan, ports)
        specs = world.specs(asked, plan)
        proofs.check_same(plan, ports, since, to=cut, specs=specs, timeout_s=_READ_BACK_S)

    def tick() -> None:
        feeding.progress()
        work.progress(phase="read the next changelogs back")

    tick()
    each = list(zip(asked.feeds, cuts, strict=True))
    world.beside([partial(prove, *one) for one in each], tick)
    for plan, cut in each:
        proofs.note(plan, ports, cut, guard=work.ensure_held)
        failpoints.hit("repartition.after_proof")
    return sum(one.rows for cut in cuts for one in cut.sums.values())


class Switching:
    """One try."""

    def __init__(self, world: World, asked: Asked, work: Work) -> None:
        self._world = world
        self._asked = asked
        self._work = work
        self._since: dict[int, FeedCut] = {}
        self._began_s = 0.0

    def run(self) -> str:
        """Raises PauseError, UnfinishedError and FencedError where nothing was switched."""
        world, asked = self._world, self._asked
        self._come_near()
        with world.layouts.right() as right:
            # Nobody else can switch from here on, so this is how it is.
            if is_switched(world, asked):
                self._work.check()
                grow(world, asked)
                return f"layout {asked.after.number} was recorded before"
            statuses, orders = world.workers.statuses(), world.workers.orders()
            copies = placed(
                asked,
                world.config,
                statuses,
                shadows=ordered(asked, orders),
                draining=world.workers.draining(),
            )
            self._work.check()
            # By a write, which comes after the claim: whoever takes the operation over from here on
            # takes this right away before it looks whether there was a switch.
            self._work.ensure_held()
            self._began_s = time.monotonic()
            try:
                return self._paused(right, goal_of(asked, copies))
            except BaseException:
                # A lease ends it where this cannot.
                with suppress(StreamerError):
                    right.lift()
                raise

    # -- before the pause ------------------------------------------------------------------------

    def _come_near(self) -> None:
        """Wait until little is left to be done inside the pause."""
        world, asked, work = self._world, self._asked, self._work
        # Where they do not become few by so many proofs, as many will do as anywhere.
        tries = _FEW_TRIES if asked.calls_code else 0
        while True:
            if why := self._far():
                work.progress(phase="come near", held_by=why)
                world.wait()
            elif self._unproven() > (_UNPROVEN_CALLED_MAX if tries else _UNPROVEN_MAX):
                tries = max(tries - 1, 0)
                prove_all(world, asked, work)
            else:
                return

    def _far(self) -> str:
        """What is too far from the end yet; "" where nothing is."""
        world, asked = self._world, self._asked
        lag = lag_of(world.feeding(asked, self._work.ensure_held))
        if not 0 <= lag <= LAG_MAX:
            return f"the feeds, which have {lag:,} offsets to copy" if lag > 0 else "the feeds"
        statuses = world.workers.statuses()
        if others := [one for one, said in statuses.items() if said.shape not in ("", asked.shape)]:
            raise OperationRefusedError(
                f"worker {min(others)} runs another topology than this was planned for",
                hint="cancel the operation, and plan it anew when all workers run the new one",
            )
        if why := asked.other_widths(world.topics.topics()):
            raise OperationRefusedError(
                why, hint="cancel the operation, and plan it anew once the workers run with that"
            )
        if idle := not_running(asked.before, statuses, lambda shape: shape in ("", asked.shape)):
            return f"task {idle[0]}, which does not run"
        if cold := keep_shadows(world, asked, self._work).waits_for:
            return cold
        known = world.ports.known(asked.origin, read_by(asked)) if asked.crossed else {}
        if crossed := expecting(asked, known):
            return f"task {crossed[0]}, which expects strays: {STRAYS_HINT}"
        if missing := who_is_missing(world, asked):
            return missing
        if not 0 <= (late := behind(world, asked)) <= BEHIND_MAX:
            return f"{asked.origin}, which is {late:,} offsets behind the live application"
        left = unread(world, asked, is_stable=False)
        if left > _UNREAD_MAX:
            return f"the application's own topics, of which {left:,} offsets are not processed"
        return ""

    def _unproven(self) -> int:
        ports, feeds = self._world.ports, self._asked.feeds
        self._since = {plan.subtopology: proofs.noted(plan, ports) for plan in feeds}
        return sum(proofs.unproven(one, ports, self._since[one.subtopology]) for one in feeds)

    # -- inside it -------------------------------------------------------------------------------

    def _paused(self, right: Right, goal: list[Row]) -> str:
        world, asked, work = self._world, self._asked, self._work
        failpoints.hit("repartition.before_pause")
        right.pause(lease_ms=LEASE_MS, by=asked.number)
        work.progress(phase="pause", number=1, of=4)
        right.wait_until_held(timeout_s=_HELD_S)
        failpoints.hit("repartition.after_pause")
        held = self._spent_ms()
        ends = self._worked_off()
        drained = self._spent_ms()
        world.feeding(asked, work.ensure_held).drain_to(ends, timeout_s=self._left_s())
        self._prove()
        proven = self._spent_ms()
        committed = world.ports.committed(asked.origin, read_by(asked))
        if behind(world, asked, is_stable=True):
            raise UnfinishedError(
                "what was read again is not where the live application stands",
                hint="nothing was switched, and the application goes on: go on with the operation",
            )
        if expecting(asked, committed):
            raise UnfinishedError("strays are expected again", hint=STRAYS_HINT)
        positions = next_positions(asked, committed)
        self._check_still(ends)
        failpoints.hit("repartition.before_switch")
        # Not a moment earlier: a process that was replaced finds out here.
        work.check()
        right.switch(asked.after.layout, positions, operation=asked.number, rows=goal)
        failpoints.hit("repartition.after_switch")
        grow(world, asked)
        said = (
            f"layout {asked.after.number} is recorded; nothing was processed for"
            f" {self._spent_ms()} ms: held after {held} ms, worked off after {drained} ms, fed and"
            f" proven after {proven} ms"
        )
        _log.info("operation %s: %s", asked.number, said)
        return said

    def _worked_off(self) -> dict[TopicPartition, int]:
        """Wait until nothing is left of what the application sent to itself; the ends of the old
        changelogs then, which stay."""
        world, asked = self._world, self._asked
        while why := self._left():
            if not self._left_s():
                raise self._late(f"{why} were left")
            self._work.progress(phase="work off", number=2, of=4, held_by=why)
            world.wait_shortly()
        ends = dict(world.ports.ends(asked.sources))
        while world.ports.stable_ends(asked.sources) != ends:
            if not self._left_s():
                raise self._late("a transaction was open in a changelog")
            world.wait_shortly()
        return ends

    def _left(self) -> str:
        """What is not worked off yet; "" where all is."""
        world, asked = self._world, self._asked
        # First, since who reads again goes on until it is where the live one stands.
        if late := behind(world, asked, is_stable=True):
            return f"{abs(late):,} offsets of the input for {asked.origin}"
        left = unread(world, asked, is_stable=True)
        return f"{left:,} offsets of the application's own topics" if left else ""

    def _prove(self) -> None:
        world, left_s = self._world, self._left_s() or 1.0

        def prove(plan: FeedPlan) -> None:
            since = self._since[plan.subtopology]
            specs = world.specs(self._asked, plan)
            proofs.check_same(plan, world.ports, since, specs=specs, timeout_s=left_s)

        world.beside(
            [partial(prove, plan) for plan in self._asked.feeds],
            lambda: self._work.progress(phase="prove", number=3, of=4),
        )

    def _check_still(self, ends: Mapping[TopicPartition, int]) -> None:
        """What was drained must still be all that there is."""
        for place, end in self._world.ports.ends(self._asked.sources).items():
            if end != ends[place]:
                raise UnfinishedError(
                    f"changelog {place} grew inside the pause",
                    hint="a worker went on, as after the lease was over: nothing was switched, go"
                    " on with the operation",
                )

    def _spent_ms(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

    def _left_s(self) -> float:
        return max(_PAUSE_S - (time.monotonic() - self._began_s), 0.0)

    def _late(self, why: str) -> UnfinishedError:
        return UnfinishedError(
            f"the pause was given up after {_PAUSE_S:g} s: {why}",
            hint="nothing was switched, and the application goes on; go on with the operation when"
            " there is less load",
        )
