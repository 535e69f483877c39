"""Generated and hand-made clusters for the tests of placements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from streamer.assignment.facts import Copies, Facts, Load, Placement, Policy, Presence, Site, Zone
from streamer.assignment.place import place
from streamer.ids import TaskId

TASKS = [TaskId(sub, part) for sub in range(3) for part in range(5)]
SIZES = st.sampled_from([0, 1, 10, 100, 1_000])


def zone(text: str) -> Zone:
    """`eu/a/7` is region, az and rack."""
    parts = text.split("/") if text else []
    return tuple(zip(("region", "az", "rack"), parts, strict=False))


def tasks(count: int, load: Load | None = None, *, subtopology: int = 0) -> dict[TaskId, Load]:
    return {TaskId(subtopology, number): load or Load() for number in range(count)}


def sites(**zones: str) -> dict[str, Site]:
    """A worker for each name, on a host of its own."""
    return {name: Site(zone(text)) for name, text in zones.items()}


def plain(names: Iterable[str]) -> dict[str, Site]:
    return {name: Site() for name in names}


def then(facts: Facts, placement: Placement, **changes: object) -> Facts:
    """The same cluster once the placement is carried out: every copy is there and warm."""
    warm = {task: frozenset(copies.workers) for task, copies in placement.copies.items()}
    done = replace(facts, previous=placement.copies, warm=warm)
    return replace(done, **changes)  # type: ignore[arg-type]


def with_presence(workers: Mapping[str, Site], name: str, presence: Presence) -> dict[str, Site]:
    return {**workers, name: replace(workers[name], presence=presence)}


def without(workers: Mapping[str, Site], *names: str) -> dict[str, Site]:
    return {name: site for name, site in workers.items() if name not in names}


@dataclass(frozen=True)
class Shape:
    """What a generated cluster may have."""

    presences: tuple[Presence, ...] = tuple(Presence)
    zones: tuple[str, ...] = ("eu/a", "eu/b", "eu/c", "us/a", "us/b")
    hosts: int = 6
    capacities: tuple[int, ...] = (50, 100, 200)
    policies: tuple[Policy, ...] = ("strict", "relaxed")
    replicas: int = 2
    has_stateless: bool = True
    sizes: st.SearchStrategy[int] = SIZES


EVERYTHING = Shape()
READY = Shape(presences=(Presence.READY,))


@st.composite
def clusters(draw: st.DrawFn, shape: Shape = EVERYTHING) -> Facts:
    """A cluster after any history: what it had before was placed by the solver itself for other
    workers, then disturbed."""
    names = [f"w{number}" for number in range(8)]
    everywhere = {name: draw(_sites(shape)) for name in names}
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    workers = {name: everywhere[name] for name in chosen}
    loads = draw(st.dictionaries(st.sampled_from(TASKS), _loads(shape), max_size=12))
    facts = Facts(
        workers=workers,
        tasks=loads,
        standby_replicas=draw(st.integers(0, shape.replicas)),
        zone_policy=draw(st.sampled_from(shape.policies)),
    )
    kind = draw(st.sampled_from(["first", "placed", "any"]))
    if kind == "first" or not loads:
        return facts
    if kind == "placed":
        earlier = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        before = {name: replace(everywhere[name], presence=Presence.READY) for name in earlier}
        previous = dict(place(replace(facts, workers=before)).copies)
    else:
        several = st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)
        drawn = draw(st.dictionaries(st.sampled_from(TASKS), several))
        previous = {task: Copies(each[0], tuple(each[1:])) for task, each in drawn.items()}
    cold = draw(st.sets(st.tuples(st.sampled_from(TASKS), st.sampled_from(names)), max_size=9))
    warm = {
        task: frozenset(name for name in copies.workers if (task, name) not in cold)
        for task, copies in previous.items()
    }
    several_names = st.frozensets(st.sampled_from(names), max_size=2)
    former = draw(st.dictionaries(st.sampled_from(TASKS), several_names, max_size=5))
    return replace(facts, previous=previous, warm=warm, former=former)


@st.composite
def _sites(draw: st.DrawFn, shape: Shape) -> Site:
    number = draw(st.integers(0, shape.hosts))
    where = draw(st.sampled_from(shape.zones))
    return Site(
        zone(where),
        # A host is in one zone; 0 is a host without a name.
        host=f"{where} {number}" if number else "",
        capacity=draw(st.sampled_from(shape.capacities)),
        presence=draw(st.sampled_from(shape.presences)),
    )


@st.composite
def _loads(draw: st.DrawFn, shape: Shape) -> Load:
    has_state = not shape.has_stateless or draw(st.integers(0, 4)) > 0
    return Load(bytes=draw(shape.sizes), rate=draw(shape.sizes), has_state=has_state)
