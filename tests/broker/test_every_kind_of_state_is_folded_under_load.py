"""All kinds of stores move together: windows and sessions that are open across the switch, a table
with its stream, rows with a TTL under keys that are not their records', one behind a topic of its
own. Some tasks have no key at all, and
one key has most of the records. What is late, and what has expired, is so under every layout."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.errors import KafkaUnavailableError
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.repartition.survey import survey
from streamer.operations.table import KafkaTable
from streamer.topology.partitioner import partition_of
from tests.broker import kinds
from tests.broker.applications.kinds import GRACE_MS
from tests.broker.exact import described
from tests.broker.feeder import START_MS, Feeder
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

pytestmark = pytest.mark.long

OUTPUTS = ("joined", "totals", "windows", "sessions", "recent", "groups")
HALF_MS = GRACE_MS // 2
LATE = [("late", b"")]
KEYS, HOT = 30, 20
TRIES = 5
T = TypeVar("T")
PATHS = [(4, (2, 4)), (6, (2, 3)), (8, (1, 8))]


def keys_of(partitions: int) -> list[str]:
    """None of them in the last partition."""
    found = [f"customer-{number}" for number in range(4 * KEYS)]
    last = partitions - 1
    return [one for one in found if partition_of(one.encode(), partitions) != last][:KEYS]


class Load:
    """The records of a scenario beside those of the feeder."""

    def __init__(self, made: Application, keys: Sequence[str]) -> None:
        self.made = made
        self.keys = keys
        self.version = 0

    def renew_rows(self) -> None:
        """A newer row for each key, in the table as soon as this returns."""
        self.version += 1
        rows = [(key, str(self.version)) for key in self.keys]
        topic = self.made.topic("rows")
        self.made.kafka.produce(topic, rows, timestamp_ms=START_MS - 24 * GRACE_MS)
        self.made.wait_until_done(topic)

    def write(self, at_ms: int, *, late: bool = False) -> None:
        """One record of each key."""
        records = [(key, "1") for key in self.keys]
        headers = LATE if late else None
        self.made.kafka.produce(self.made.topic("in"), records, timestamp_ms=at_ms, headers=headers)

    def look_back(self) -> None:
        """To a window that is open for long, and to one that has been closed for long."""
        self.write(START_MS - HALF_MS)
        self.write(START_MS - 2 * GRACE_MS, late=True)


def fold(config: Config, made: Application, tasks: int) -> str:
    """To so many tasks of both subtopologies; what the switch said."""
    number = f"repartition-{secrets.token_hex(6)}"
    code = described(made).topology
    asked = survey(config, code(), {0: tasks, 1: tasks}, number=number)
    with Executor(config, KafkaTable(config), all_kinds(code)) as executor:
        patiently(lambda: executor.propose("repartition", asked.plain(), operation=number))
        record = patiently(lambda: executor.start(number))
        for _ in range(TRIES):
            if record.state != "failed":
                break
            # On a machine that is busy with other tests a pause takes longer than it may.
            print(record.trouble)
            record = patiently(lambda: executor.resume(number))
    assert record.state == "done", record.trouble
    return next(step.said for step in record.steps if step.id == "switch")


def patiently(ask: Callable[[], T]) -> T:
    """For brokers that are slow to answer, as beside many other tests."""
    for _ in range(TRIES):
        with suppress(KafkaUnavailableError):
            return ask()
    return ask()


def run_through(
    made: Application, config: Config, load: Load, path: Sequence[int], watch: Sequence[Worker]
) -> None:
    topic, hot = made.topic("in"), load.keys[0]
    load.renew_rows()
    load.write(START_MS)
    made.wait_until_done(topic, watch=watch)
    feeder = Feeder(made, rate=200)
    feeder.keys = [*load.keys, *[hot] * HOT]
    with feeder:
        load.look_back()
        for tasks in path:
            print(fold(config, made, tasks))
            load.look_back()
            load.renew_rows()
        feeder.stop()
    made.wait_until_done(topic, watch=watch)
    # Everything has its end: windows are closed, and rows past their time begin anew.
    load.write(START_MS + 2 * GRACE_MS)
    made.wait_until_done(topic, watch=watch)
    load.write(START_MS + HALF_MS, late=True)


@thorough
@pytest.mark.parametrize(("partitions", "path"), PATHS)
def test_results_are_those_of_an_application_that_never_moved(
    application: Any, wait_until: Any, partitions: int, path: tuple[int, ...]
) -> None:
    made = application("kinds", inputs=("in", "rows"), outputs=OUTPUTS, partitions=partitions)
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    load = Load(made, keys_of(partitions))
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    with Control(config) as control:
        wait_until(
            lambda: [one.state for one in control.tasks()] == ["running"] * 2 * partitions,
            what="all tasks of layout 1",
        )
    run_through(made, config, load, path, workers)
    own = f"{made.name}-by-group-repartition.layout-{1 + len(path)}"
    made.wait_until_done(made.topic("in"), made.topic("rows"), own, watch=workers)

    wanted, found = kinds.expected(made, "late"), kinds.written(made)
    met = kinds.versions(made, found)
    for name in ("amounts", "windows", "sessions", "recent", "totals", "groups"):
        assert dict(getattr(found, name)) == dict(getattr(wanted, name)), name
    hot = load.keys[0]
    assert wanted.windows[hot, START_MS - HALF_MS] == [1, 2, 3]
    assert (wanted.recent[hot][-2:], len(wanted.recent[hot]) > 100) == ([1, 2], True)
    # A record meets the row of its moment, and never an older one than the record before it.
    assert all(series == sorted(series) for series in met.values())
    assert set(met[hot]) == {1, 2, 3}
    assert {series[-1] for series in met.values()} == {3}
    assert [worker.stop() for worker in workers] == [0, 0]
