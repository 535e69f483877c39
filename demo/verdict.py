"""Is everything that the workers stored and wrote what it should be? All of it, by two ways.

What is stored is compared with a plain computation by polars; what is in Kafka (every result in
its order, the changelog, the committed positions) goes through Streamer's own history checker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from demo import answer as plain
from demo.answer import Answer, Spent, answer, differences
from demo.cdnow import Purchase
from demo.topics import PARTITIONS
from demo.workers import Stored, Worker
from examples.profiles import Profile, add, app
from streamer.config import load
from streamer.control.current import current_layout
from streamer.kafka.admin import Admin
from streamer.testing import check, cluster_history, per_key
from streamer.topology.partitioner import partition_of

__all__ = ["Verdict", "check_history", "compare"]

Say = Callable[[str], None]


@dataclass(slots=True)
class Verdict:
    """What was compared, and what was wrong; `wrong` is empty if all is as it should be."""

    profiles: int = 0
    spending: int = 0
    results: int = 0
    wrong: list[str] = field(default_factory=list)


def compare(
    purchases: Iterable[Purchase], workers: Sequence[Worker], *, tasks: int, say: Say
) -> Verdict:
    """The stores of so many tasks with the plain computation. Raises OSError where a worker does
    not answer."""
    say("computing the same from the same purchases by polars")
    expected = answer(purchases)
    verdict = Verdict(len(expected.profiles), len(expected.spending))
    say(
        f"reading the stores over HTTP: {verdict.profiles:,} profiles, {verdict.spending:,} windows"
    )
    verdict.wrong += _stored_profiles(expected, _stored(workers, "profiles"), tasks=tasks)
    verdict.wrong += _stored_spending(expected, _stored(workers, "spending"), tasks=tasks)
    return verdict


def check_history(bootstrap_servers: str, *, events: int) -> tuple[int, list[str]]:
    """How many results lie in Kafka, and what is wrong with any of them, with the changelog of
    the profiles, or with the positions."""
    config = load(
        app.application_id, keywords={"bootstrap_servers": bootstrap_servers}, environment={}
    )
    history = cluster_history(
        app,
        config,
        inputs="purchases",
        output="customer-profiles",
        store="profiles",
        layout=current_layout(config, Admin(config)),
    )
    # Where the topic was given partitions, a customer's older purchases lie in the former one.
    inputs = sorted(history.inputs, key=lambda one: one.partition != _former(one.key))
    found = check(replace(history, inputs=inputs), per_key(Profile, add))
    wrong = [] if found else str(found).splitlines()
    if found.inputs != events:
        wrong.append(f"purchases has {found.inputs:,} records, {events:,} were written")
    return found.outputs, wrong


def _former(customer: str) -> int:
    return partition_of(customer.encode(), PARTITIONS)


def _stored(workers: Sequence[Worker], store: str) -> list[Stored]:
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(lambda worker: worker.stored(store), workers))


def _stored_profiles(expected: Answer, parts: Sequence[Stored], *, tasks: int) -> list[str]:
    found = {int(row["key"]): plain.Profile(**row["value"]) for part in parts for row in part.rows}
    return _not_one_owner(parts, tasks) + differences("stored profile", expected.profiles, found)


def _stored_spending(expected: Answer, parts: Sequence[Stored], *, tasks: int) -> list[str]:
    found = {
        (int(row["key"]), row["start_ms"]): Spent(**row["value"])
        for part in parts
        for row in part.rows
    }
    return _not_one_owner(parts, tasks) + differences("stored spending", expected.spending, found)


def _not_one_owner(parts: Sequence[Stored], tasks: int) -> list[str]:
    """Each task's rows must have come from one worker, and from exactly one."""
    found = sorted(task for part in parts for task in part.tasks)
    wanted = sorted(f"0_{number}" for number in range(tasks))
    return [] if found == wanted else [f"rows came from tasks {found}, not one of each {wanted}"]
