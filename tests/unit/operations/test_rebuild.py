"""A rebuild of a copy: planned by what workers say, killed everywhere, cancelled everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import ChoreReport, StandbyReport, StatusRecord, TaskReport
from streamer.control.orders import Order, RebuildOrder, SnapshotOrder, decode_order
from streamer.errors import ConfigError, OperationRefusedError
from streamer.ids import TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.rebuild import Rebuild
from streamer.operations.work import Work
from streamer.testing.kills import OperationScene, check_cancels, check_kills, check_zombies

ORDERS = TopicPartition("app.orders", 0)
INCARNATION = "0123456789abcdef.1"


class Cluster:
    """Three workers: one processes 0_3, two keep a copy. What they are told takes them a look."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock(1_000_000)
        self.broker = FakeBroker(partition_of=lambda _key, _count: 0, now_ms=self.clock.now_ms)
        self.broker.create(ORDERS.topic, 1)
        self.config = Config(application_id="app", **settings)
        self.place = ORDERS
        self.rebuilt: dict[str, int] = {}
        self.working: set[str] = set()
        self.refused_ms: set[int] = set()
        self.refusal = self.why = ""
        self.lag = 20_000
        self.is_gone: set[str] = set()
        self.copies = {"b": StandbyReport(lag_records=0), "c": StandbyReport(lag_records=0)}
        self.active = TaskReport(state="running")
        self.owner = "a"
        self.promoted: TaskReport | None = None
        self.is_deaf = False

    def open(self, _config: Config) -> AbstractContextManager[Cluster]:
        return nullcontext(self)

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def wait(self) -> None:
        self.clock.advance(1_000)
        self.lag = max(self.lag - 8_000, 0)

    def orders(self) -> Mapping[str, Order]:
        found: dict[str, Order] = {}
        for record in self.broker.partition_records(ORDERS):
            key = (record.key or b"").decode()
            found.pop(key, None)
            if record.value is not None:
                found[key] = decode_order(ORDERS.topic, key, record.value)
        return found

    def statuses(self) -> Mapping[str, StatusRecord]:
        for order in () if self.is_deaf else self.orders().values():
            self._follow(order)
        workers = {
            "a": ({}, {}),
            **{name: ({}, {"0_3": copy}) for name, copy in self.copies.items()},
        }
        workers[self.owner] = ({"0_3": self.promoted or self.active}, {})
        return {
            name: StatusRecord(
                format=1,
                number=1,
                worker=name,
                incarnation=INCARNATION,
                tasks=tasks,
                standbys=standbys,
                host=f"host-{name}",
                zone=f"cloud=x,az={name}",
            )
            for name, (tasks, standbys) in workers.items()
            if name not in self.is_gone
        }

    def _follow(self, order: Order) -> None:
        """A worker is told, says that it works, and has done it when it is looked at again."""
        number, is_known = order.operation, order.operation in self.working
        self.working.add(number)
        if isinstance(order, SnapshotOrder):
            state = "done" if is_known else "working"
            chore = ChoreReport(operation=number, state=state, made="0000000009-x")  # type: ignore[arg-type]
            self.active = msgspec.structs.replace(self.active, chore=chore)
            return
        copy = self.copies[order.worker]
        if copy.chore is not None and copy.chore == self._done(order):
            self.copies[order.worker] = msgspec.structs.replace(copy, lag_records=self.lag)
            return
        if not is_known:
            chore = ChoreReport(operation=number, state="working", bytes_done=1, bytes_total=2)
        elif self.refusal or order.at_ms in self.refused_ms:
            # Tried once, until it is given again.
            self.refused_ms.add(order.at_ms)
            self.why = self.refusal or self.why
            chore = ChoreReport(operation=number, state="failed", why=self.why)
        else:
            chore = self._done(order)
            self.rebuilt[order.worker] = self.rebuilt.get(order.worker, 0) + 1
            self.lag = 20_000
        self.copies[order.worker] = msgspec.structs.replace(
            copy, chore=chore, lag_records=self.lag, state="standby"
        )

    def _done(self, order: RebuildOrder) -> ChoreReport:
        return ChoreReport(
            operation=order.operation,
            state="done",
            made="0000000009-x",
            source=order.repository or "file:///snapshots",
        )

    def kinds(self) -> Kinds:
        return Kinds([Rebuild(self.open)])

    def executor(self) -> Executor:
        return Executor(
            self.config,
            FakeTable(self.broker, "app"),
            self.kinds(),
            clock=self.clock,
            pulses=False,
        )


def request(**more: object) -> dict[str, object]:
    return {"task": "0_3", "number": "one", **more}


EXPORT = {
    "snapshot_export_dir": Path("/srv/export"),
    "snapshot_export_address": "ssh://streamer@{host}/srv/export",
}


def scene(**more: object) -> OperationScene:
    cluster = Cluster(**EXPORT)
    return OperationScene(
        "rebuild",
        request(**more),
        kinds=cluster.kinds(),
        broker=cluster.broker,
        clock=cluster.clock,
        end=lambda: (cluster.orders(), cluster.rebuilt),
    )


def cancelled(**more: object) -> OperationScene:
    cluster = Cluster(**EXPORT)
    return OperationScene(
        "rebuild",
        request(**more),
        kinds=cluster.kinds(),
        broker=cluster.broker,
        clock=cluster.clock,
        # A copy that was made anew by then is as good as the old one.
        end=cluster.orders,
    )


@pytest.mark.slow
@pytest.mark.parametrize("source", ["auto", "active"])
def test_killed_anywhere_the_copy_is_made_anew_once(source: str) -> None:
    assert len(check_kills(lambda: scene(**{"from": source}))) > 10
    clean = scene(**{"from": source})
    clean.execute()
    assert clean.end() == ({}, {"b": 1})


@pytest.mark.slow
@pytest.mark.parametrize("source", ["auto", "active"])
def test_cancelled_anywhere_no_order_is_left(source: str) -> None:
    assert check_cancels(lambda: cancelled(**{"from": source}), every=3)


@pytest.mark.slow
def test_a_process_that_wakes_late_changes_nothing() -> None:
    assert check_zombies(scene)


def test_what_is_told_to_whom() -> None:
    cluster = Cluster(**EXPORT)
    executor = cluster.executor()
    record = executor.start(executor.propose("rebuild", request(**{"from": "active"})).id)
    assert record.state == "done"
    given = [
        decode_order(ORDERS.topic, (one.key or b"").decode(), one.value)
        for one in cluster.broker.partition_records(ORDERS)
        if one.value is not None
    ]
    export, rebuild = given
    assert isinstance(export, SnapshotOrder)
    assert (export.tasks, export.repository) == (("0_3",), "file:///srv/export")
    assert isinstance(rebuild, RebuildOrder)
    assert (rebuild.worker, rebuild.repository) == ("b", "ssh://streamer@host-a/srv/export")
    assert "from snapshot 0000000009-x of ssh://streamer@host-a/srv/export" in record.steps[-1].said
    assert cluster.orders() == {}


def test_it_waits_until_the_copy_is_warm() -> None:
    cluster = Cluster()
    executor = cluster.executor()
    record = executor.start(executor.propose("rebuild", request(on="c")).id)
    assert record.state == "done"
    assert cluster.copies["c"].lag_records <= cluster.config.acceptable_recovery_lag
    assert cluster.rebuilt == {"c": 1}


def test_it_tells_how_much_of_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else it would be said to stand still while it reads for long, and nobody would know how long.
    told: list[tuple[int, int]] = []
    progress = Work.progress

    def listening(self: Work, **given: Any) -> None:
        if given.get("phase") == "read the rest of the changelogs":
            told.append((given["records_done"], given["records_total"]))
        progress(self, **given)

    monkeypatch.setattr(Work, "progress", listening)
    cluster = Cluster()
    executor = cluster.executor()
    executor.start(executor.propose("rebuild", request(on="c")).id)
    assert len(told) > 1
    assert told == sorted(set(told)), "further each time"
    assert {total for _done, total in told} == {20_000}


def test_what_failed_is_tried_again_when_it_is_resumed() -> None:
    cluster = Cluster()
    cluster.refusal = "the disk is full"
    executor = cluster.executor()
    record = executor.start(executor.propose("rebuild", request()).id)
    assert record.state == "failed"
    assert record.trouble is not None
    assert record.trouble.message == "worker b cannot do it: the disk is full"
    before = len(cluster.broker.partition_records(ORDERS))
    cluster.refusal = ""
    record = executor.resume(record.id)
    assert record.state == "done"
    # Given again, and taken back.
    assert len(cluster.broker.partition_records(ORDERS)) == before + 2


@pytest.mark.parametrize(
    ("more", "settings", "why"),
    [
        ({"on": "a"}, {}, "task 0_3 is processed by worker a, and only a copy can be rebuilt"),
        ({"on": "z"}, {}, "worker z keeps no copy of task 0_3 and is gone"),
        ({"task": "0_9"}, {}, "no worker that lives keeps a copy of task 0_9"),
        ({"zone": "az=a"}, {}, "no worker that lives keeps a copy of task 0_3 in zone az=a"),
        ({"zone": "az=z"}, {}, "no worker that lives is in zone az=z"),
        ({"zone": "az=c", "on": "b"}, {}, "worker b keeps no copy of task 0_3 in zone az=c"),
        ({"zone": "cloud=y,az=c"}, {}, "no worker that lives is in zone cloud=y,az=c"),
        ({"from": "active"}, {}, "snapshot_export_dir and snapshot_export_address are not both"),
        ({"from": "moon"}, {}, "'moon' is not where a copy can come from"),
        ({"from": "s3"}, {"snapshot_repository": "file:///srv/x"}, "is not of s3"),
        ({"number": ""}, {}, "a rebuild needs a number of its own"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_happens(
    more: dict[str, object], settings: dict[str, Any], why: str
) -> None:
    cluster = Cluster(**settings)
    with pytest.raises(OperationRefusedError, match=why):
        cluster.executor().plan("rebuild", request(**more))
    assert cluster.orders() == {}


def test_a_source_without_its_setting_is_wrong_configuration() -> None:
    with pytest.raises(ConfigError, match="snapshot_repository is not set"):
        Cluster().executor().plan("rebuild", request(**{"from": "ssh"}))


def test_a_copy_that_has_failed_comes_first() -> None:
    cluster = Cluster()
    cluster.copies["c"] = StandbyReport(state="failed", lag_records=-1)
    assert cluster.executor().plan("rebuild", request()).seen == {"worker": "c", "active": "a"}


@pytest.mark.parametrize(
    ("zone", "worker"), [("", "b"), ("az=c", "c"), ("cloud=x", "b"), ("az=c,cloud=x", "c")]
)
def test_of_a_zone_it_is_a_copy_in_it(zone: str, worker: str) -> None:
    found = Cluster().executor().plan("rebuild", request(zone=zone))
    assert found.seen["worker"] == worker


def test_one_at_a_time() -> None:
    cluster = Cluster()
    executor = cluster.executor()
    cluster.refusal = "no"
    executor.start(executor.propose("rebuild", request()).id)
    with pytest.raises(OperationRefusedError, match="is being rebuilt on worker b already"):
        executor.plan("rebuild", request(number="two"))


@pytest.mark.parametrize("state", ["failed", "done"])
def test_a_copy_that_is_promoted_meanwhile_is_not_waited_for(state: Any) -> None:
    cluster = Cluster()
    cluster.is_deaf = True
    executor = cluster.executor()

    def wait() -> None:
        # The worker says so of its task: it has no copy any more.
        chore = ChoreReport(operation="one", state=state, why="it is processed by this worker")
        cluster.owner, cluster.promoted = "b", TaskReport(state="running", chore=chore)
        cluster.clock.advance(1_000)
        assert cluster.now_ms() < 1_100_000, "it waits for ever"

    cluster.wait = wait  # type: ignore[method-assign]
    record = executor.start(executor.propose("rebuild", request()).id)
    assert record.state == state
    if state == "failed":
        assert record.trouble is not None
        assert "worker b cannot do it: it is processed by" in record.trouble.message


def test_an_active_that_has_lost_the_task_is_not_waited_for() -> None:
    cluster = Cluster(**EXPORT)
    cluster.is_deaf = True
    executor = cluster.executor()

    def wait() -> None:
        cluster.owner, cluster.promoted = "c", TaskReport(state="running")
        cluster.clock.advance(1_000)
        assert cluster.now_ms() < 1_100_000, "it waits for ever"

    cluster.wait = wait  # type: ignore[method-assign]
    record = executor.start(executor.propose("rebuild", request(**{"from": "active"})).id)
    assert record.state == "failed"
    assert record.trouble is not None
    assert "processed by worker c by now, and not by a" in record.trouble.message
    assert executor.cancel(record.id).state == "cancelled"
    assert cluster.orders() == {}
