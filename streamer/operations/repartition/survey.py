"""What a repartition would do, looked up before it is asked for: layouts and sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from streamer.changelog.topics import changelog_settings
from streamer.clock import SystemClock
from streamer.cluster.outline import topology_of
from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.control.operator import Operator
from streamer.errors import ConfigError, OperationRefusedError
from streamer.ids import routed_name
from streamer.kafka.admin import Admin
from streamer.kafka.changelog import Bounds
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.modes import Wish
from streamer.operations.repartition.partitioners import (
    placed_by,
    sampled_keys,
    with_partitioner,
)
from streamer.operations.repartition.request import Asked, Expected, ask
from streamer.operations.repartition.seeds import choose_seeds
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions, external_topics, partitions
from streamer.topology.routed import routed

__all__ = ["subtopology_named", "survey", "told_topology", "wished"]

_WANTED = re.compile(r"([A-Za-z0-9._-]+)=([1-9][0-9]{0,5})")


def told_topology(config: Config) -> Topology:
    """The topology of the workers that run, as their controller tells it, without its functions.
    Raises OperationRefusedError where none has told it."""
    with Operator(config) as operator:
        told = operator.plan()
    if told is None or not told.outline:
        raise OperationRefusedError(
            f"no controller of {config.application_id} has told what its subtopologies keep",
            hint="start its workers, of this release or a later one; or plan where the code of the"
            " application is: streamer repartition plan ... --app MODULE:APP",
        )
    return topology_of(config.application_id, told.outline)


def wished(topology: Topology, wanted: Sequence[str]) -> dict[int, int]:
    """Numbers of tasks by subtopology, of texts such as `purchases=12`. Raises ConfigError for
    others, and OperationRefusedError for a name that there is not."""
    tasks: dict[int, int] = {}
    for text in wanted:
        match = _WANTED.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} does not say how many tasks",
                hint="write SUBTOPOLOGY=TASKS, such as 0=12, or TOPIC=TASKS, such as purchases=12",
            )
        tasks[subtopology_named(topology, match[1])] = int(match[2])
    if len(tasks) != len(wanted):
        raise ConfigError(
            "a subtopology is named twice", hint="give each of them one number of tasks"
        )
    return tasks


def subtopology_named(topology: Topology, name: str) -> int:
    """The subtopology of a number, or of a topic that it reads. Raises OperationRefusedError for
    what is neither."""
    for one in topology.subtopologies:
        # Not the ingress, which reads the topic itself.
        if routed_name(name) in one.topics:
            return one.number
    numbers = [one.number for one in topology.subtopologies if one.sources]
    if name.isdecimal() and int(name) in numbers:
        return int(name)
    for one in topology.subtopologies:
        if name in one.topics:
            return one.number
    known = [str(number) for number in numbers]
    known += [topic for one in topology.subtopologies for topic in one.topics]
    raise OperationRefusedError(
        f"{name!r} is neither a subtopology nor a topic that one reads",
        hint=f"possible: {', '.join(known)}",
    )


def survey(
    config: Config,
    topology: Topology,
    tasks: Mapping[int, int],
    *,
    number: str,
    mode: Wish = None,
) -> Asked:
    """The request for so many tasks of these subtopologies, as things are now. Raises as `ask`, as
    `partitions` where the layout and the topics do not fit, and as `placed_by` for topics that
    would be grown or routed, and as `choose_seeds` for changelogs that were trimmed."""
    admin = Admin(config)
    recorded = current_layout(config, admin)
    code, topology = topology, routed(topology, recorded)
    read, _written = external_topics(topology)
    counts = admin.partitions(read)
    planned = partitions(topology, counts, recorded)
    _check_told(config, topology, recorded)
    asked = ask(topology, planned.layout, tasks, number=number, mode=mode)
    if asked.grown or asked.taken_over:
        layout, sampled = _with_partitioners(config, admin, asked, topology.placed)
        asked = ask(topology, layout, tasks, number=number, mode=mode)
        asked = msgspec.structs.replace(asked, sampled=sampled)
    after = asked.after.layout
    _check_begun(planned, partitions(routed(code, after), counts | asked.grown, after), asked)
    ends = admin.ends(asked.sources)
    starts = admin.starts(asked.sources)
    ids = admin.topic_ids(sorted({place.topic for place in asked.sources}))
    bounds = {
        place: Bounds(starts[place], ends[place], ids.get(place.topic, ""))
        for place in asked.sources
    }
    kept_ms = int(changelog_settings(config)["delete.retention.ms"])
    seeds = choose_seeds(
        config, asked.feeds, bounds, now_ms=SystemClock().now_ms(), kept_ms=kept_ms
    )
    asked = msgspec.structs.replace(asked, seeds=seeds)
    records = sum(max(ends[place] - at, 0) for place, at in asked.begins.items())
    moved = {f"{each}_" for each in asked.moved}
    with Control(config, reads_assignments=False) as control:
        size = sum(
            report.bytes
            for task, (_worker, report) in control.reports().items()
            if any(task.startswith(each) for each in moved)
        )
    return msgspec.structs.replace(asked, expected=Expected(records=records, bytes=size))


def _check_begun(before: Partitions, after: Partitions, asked: Asked) -> None:
    """Raise OperationRefusedError for what workers would refuse that begin with it: a topic of the
    application's own that is not made anew would have to be wider."""
    for topic, width in sorted(after.internal.items()):
        if (there := before.internal.get(topic, width)) != width:
            raise OperationRefusedError(
                f"{topic} has {there} partitions, and would need {width} in layout"
                f" {asked.after.number}",
                hint="fix its width in the code where it is a repartition topic:"
                f' .repartition("name", partitions={there})',
            )


def _check_told(config: Config, topology: Topology, recorded: ApplicationLayout | None) -> None:
    """Raise OperationRefusedError where the workers' code declares other partitioners."""
    try:
        theirs, ours = routed(told_topology(config), recorded).placed, topology.placed
    except OperationRefusedError:
        return
    for topic in sorted(theirs.keys() | ours.keys()):
        there, here = (one.get(topic, "nothing") for one in (theirs, ours))
        if there != here:
            raise OperationRefusedError(
                f"the workers' code declares {there} for the keys of {topic}, and the code that was"
                f" given {here}",
                hint="give the application as its workers have it, and wait until all have it",
            )


def _with_partitioners(
    config: Config, admin: Admin, asked: Asked, declared: Mapping[str, str]
) -> tuple[ApplicationLayout, dict[str, int]]:
    """The layout that holds, with the partitioners that records of topics that are grown or routed
    tell; and of how many records of each."""
    layout = asked.before.layout
    sampled: dict[str, int] = {}
    for number in asked.moved:
        one = layout.subtopologies[number]
        widths = {
            topic: each.partitions
            for topic, each in one.external.items()
            if topic in asked.grown or topic in asked.taken_over
        }
        # Once a layout was built for it, its partitioner is known, and all of the state lies by it;
        # the topic may have grown since some of its records were written.
        if widths and one.keeps_state and one.is_first:
            keys = sampled_keys(config, admin, widths)
            is_declared = not declared.keys().isdisjoint(widths)
            placed = placed_by(keys, widths, one.partitioner, is_declared=is_declared)
            sampled |= {topic: each.records for topic, each in placed.items()}
            layout = with_partitioner(layout, number, next(iter(placed.values())).by)
    return layout, sampled
