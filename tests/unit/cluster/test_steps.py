"""One step at a time towards a placement: nothing cold is promoted, nothing is dropped too soon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.assignment.facts import Copies
from streamer.cluster.steps import Known, Limits, Step, next_step
from streamer.ids import TaskId

TASK, OTHER = TaskId(0, 0), TaskId(0, 1)
LIMITS = Limits(warm_lag_max=10, building_max=100, building_per_worker_max=100)


class Cluster:
    """Where one task is; every worker obeys at once, and copies are as far as the test says."""

    def __init__(self, active: str | None, *standbys: str, live: str = "a b c d") -> None:
        self.live = frozenset(live.split())
        self.actives = {TASK: active} if active else {}
        self.standbys = {TASK: frozenset(standbys)}
        self.lags: dict[str, int] = {}
        self.stateless: frozenset[TaskId] = frozenset()
        self.running = frozenset({TASK})

    def towards(self, active: str | None, *standbys: str, **lags: int) -> str:
        """The state after a step, as `active+standby+standby`."""
        self.lags = lags
        known = Known(self.live, self.actives, self.standbys, {TASK: lags}, self.running)
        known = replace(known, stateless=self.stateless)
        step = next_step({TASK: Copies(active, standbys)}, known, LIMITS)
        self.actives, self.standbys = step.actives, step.standbys
        copies = sorted(step.standbys.get(TASK, ()))
        return "+".join([step.actives.get(TASK, "-"), *copies])


def test_a_task_that_nobody_has_begins_where_it_shall_be() -> None:
    assert Cluster(None).towards("a", "b") == "a+b"


def test_the_target_builds_a_copy_and_is_active_when_it_is_warm() -> None:
    one = Cluster("a")
    assert one.towards("b") == "a+b"
    assert one.towards("b", b=-1) == "a+b"
    assert one.towards("b", b=11) == "a+b"
    assert one.towards("b", b=10) == "b"


def test_the_former_owner_becomes_the_copy_that_is_wanted_of_it() -> None:
    one = Cluster("a", "b")
    assert one.towards("b", "a", b=0) == "b+a"


def test_an_old_copy_goes_only_when_all_new_ones_are_warm() -> None:
    one = Cluster("a", "b")
    assert one.towards("a", "c", b=0) == "a+b+c"
    assert one.towards("a", "c", b=0, c=11) == "a+b+c"
    assert one.towards("a", "c", b=0, c=3) == "a+c"


def test_a_former_owner_stays_as_a_copy_while_another_is_built() -> None:
    one = Cluster("a")
    assert one.towards("b", "c") == "a+b+c"
    assert one.towards("b", "c", b=0, c=500) == "b+a+c"
    assert one.towards("b", "c", a=0, c=0) == "b+c"


def test_without_its_owner_the_warm_copy_takes_over_at_once() -> None:
    one = Cluster("x", "b", "c")
    assert one.towards("a", "c", b=4, c=9) == "c+a+b"  # the one that is to stay
    one = Cluster("x", "b")
    assert one.towards("a", b=4) == "b+a"
    assert one.towards("a", a=2) == "a"


def test_without_a_warm_copy_the_one_that_has_least_to_read_takes_over() -> None:
    assert Cluster("x", "b", "c").towards("a", b=900, c=500) == "c+a+b"
    one = Cluster("x", "b")
    one.running = frozenset()
    assert one.towards("a", b=-1) == "a+b"  # nobody knows how far that one is: it stays
    assert one.towards("a", b=-1) == "a+b"
    one.running = frozenset({TASK})
    assert one.towards("a", b=-1) == "a"


def test_a_second_failure_in_the_middle_of_a_move() -> None:
    one = Cluster("a", "b")
    assert one.towards("c", "b", b=0) == "a+b+c"
    one.live -= {"a"}
    assert one.towards("c", "b", b=0, c=400) == "b+c"
    one.live -= {"b"}
    assert one.towards("c", "d", c=300) == "c+d"


def test_a_target_that_is_gone_changes_nothing_for_the_owner() -> None:
    one = Cluster("a", "b", live="a b")
    assert one.towards("c", "b", b=0) == "a+b"
    assert one.towards(None, b=0) == "a"


def test_a_task_without_state_moves_at_once_and_has_no_copies() -> None:
    one = Cluster("a")
    one.stateless = frozenset({TASK})
    assert one.towards("b", "c") == "b"


def test_a_copy_that_has_failed_is_waited_for_and_not_replaced_by_less() -> None:
    one = Cluster("a", "b", "c")
    assert one.towards("a", "d", b=0, c=0) == "a+b+c+d"
    assert one.towards("a", "d", b=0, c=0, d=-1) == "a+b+c+d"


def step(
    target: Mapping[TaskId, Copies],
    limits: Limits,
    *,
    standbys: Mapping[TaskId, Iterable[str]] | None = None,
    lags: Mapping[TaskId, Mapping[str, int]] | None = None,
) -> Step:
    held = {task: frozenset(each) for task, each in (standbys or {}).items()}
    actives = dict.fromkeys(target, "a")
    return next_step(target, Known(frozenset("abcd"), actives, held, lags or {}, target), limits)


def test_few_copies_are_built_at_a_time_and_first_of_tasks_that_have_none() -> None:
    target = {TASK: Copies("a", ("b", "c")), OTHER: Copies("a", ("b",))}
    two = Limits(warm_lag_max=10, building_max=2, building_per_worker_max=1)
    made = step(target, two, standbys={TASK: "c"}, lags={TASK: {"c": 0}})
    assert made.standbys == {TASK: {"c"}, OTHER: {"b"}}
    assert (made.building, made.waiting) == (1, 1)
    made = step(target, two, standbys=made.standbys, lags={TASK: {"c": 0}, OTHER: {"b": 5}})
    assert made.standbys == {TASK: {"b", "c"}, OTHER: {"b"}}
    one = Limits(warm_lag_max=10, building_max=1, building_per_worker_max=9)
    assert sum(map(len, step(target, one).standbys.values())) == 1


WORKERS = "abcde"
workers = st.sampled_from(WORKERS)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Copies, Known]:
    target = draw(st.lists(workers, min_size=1, max_size=3, unique=True))
    copies = draw(st.frozensets(workers, max_size=4))
    active = draw(st.none() | workers)
    lags = {each: draw(st.sampled_from((-1, 0, 10, 11, 500))) for each in sorted(copies)}
    return Copies(target[0], tuple(target[1:])), Known(
        draw(st.frozensets(workers, min_size=1)),
        {TASK: active} if active else {},
        {TASK: copies - {active}},
        {TASK: lags},
        draw(st.sampled_from(((), (TASK,)))),
    )


@given(situations())
def test_no_step_is_worse_than_where_it_begins(given: tuple[Copies, Known]) -> None:
    target, known = given
    made = next_step({TASK: target}, known, LIMITS)
    active, before = made.actives.get(TASK), known.actives.get(TASK)
    copies = made.standbys.get(TASK, frozenset())
    warm = {each for each, lag in known.lags[TASK].items() if 0 <= lag <= 10} & known.live
    if before in known.live:
        warm |= {str(before)}
    # A cold copy never becomes active while a warm one lives.
    assert not warm or active in warm
    # Nobody that is gone has anything, and the active needs no copy of its own.
    assert (copies | ({active} if active else set())) <= known.live
    assert active not in copies
    # Warm copies do not become fewer than the target has places, nor than there were.
    places = len({target.active, *target.standbys} & known.live)
    kept = warm & (copies | ({active} if active else set()))
    assert len(kept) >= min(len(warm), places) or active is None


@pytest.mark.parametrize("seed", range(3))
@given(situations())
def test_steps_end_at_the_target(seed: int, given: tuple[Copies, Known]) -> None:
    del seed
    target, known = given
    actives, standbys = dict(known.actives), dict(known.standbys)
    for _ in range(4):
        lags = {TASK: dict.fromkeys(standbys.get(TASK, ()), 0)}
        made = next_step(
            {TASK: target}, Known(known.live, actives, standbys, lags, actives), LIMITS
        )
        actives, standbys = made.actives, made.standbys
    wanted = {target.active, *target.standbys} & known.live
    if target.active in known.live:
        assert actives[TASK] == target.active
        assert standbys.get(TASK, frozenset()) == wanted - {target.active}
