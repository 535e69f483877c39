"""Workers keep copies of the next layout's tasks, and go on with them when it is switched to."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from streamer.changelog.topics import changelog_settings
from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import write_layout
from streamer.control.goals import GoalRecord, encode_goal, goal_rows
from streamer.control.layouts import layout_record
from streamer.control.messages import StandbyReport
from streamer.control.orders import FORMAT, ShadowOrder, encode_order, shadow_key
from streamer.control.right import LayoutRight
from streamer.feed.feed import Feed
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import KafkaPorts
from streamer.feed.proof import WHILE_FED, FeedCut, prove, take_cut
from streamer.feed.running import RunningFeeds
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.admin import Admin, TopicSpec
from streamer.kafka.api import Committed
from streamer.kafka.consumer import InputConsumer
from streamer.layout import ApplicationLayout
from streamer.store.keys import row
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from streamer.topology.partitions import partitions
from streamer.topology.stores import StoreKind
from tests.broker.applications.counts import Total, add
from tests.broker.commands import answer
from tests.broker.exact import described
from tests.broker.feeder import Feeder
from tests.broker.workers import PATIENCE_S, Application
from tests.thorough import thorough

# What comes in a second and a half.
LAG_MAX = 500
OPERATION = "fold-1"
# Of 4 tasks two are made, one on each host.
PLACES = {"w-a": TaskId(0, 1), "w-b": TaskId(0, 0)}
KEYS = 20_000
Shadows = dict[str, dict[str, StandbyReport]]


class Fed(NamedTuple):
    """Feeds at work, with the cut before their first record."""

    plan: FeedPlan
    begin: FeedCut
    running: RunningFeeds


class Fold:
    """What an operation does around workers, from 4 tasks to 2."""

    def __init__(self, made: Application) -> None:
        self.made = made
        self.topology = described(made).topology()
        self.config = Config(
            application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers
        )
        self.admin = Admin(self.config)
        self.layout = partitions(self.topology, {made.topic("in"): 4}).layout
        self.next = self.layout.folded({0: 2})
        self.changelog = f"{made.changelog('totals')}.layout-2"
        self.operations = f"{made.name}.operations"

    def make_topics(self) -> None:
        settings = changelog_settings(self.config) | dict(WHILE_FED)
        self.admin.create([TopicSpec(self.changelog, 2, settings, replication_factor=1)])

    def order(self, worker: str, *tasks: TaskId, operation: str = OPERATION) -> None:
        """Without tasks the order is taken back."""
        topic = f"{self.made.name}.orders"
        order = ShadowOrder(
            format=FORMAT,
            operation=operation,
            worker=worker,
            layout=layout_record(self.made.name, self.next),
            tasks=tuple(map(str, tasks)),
        )
        value = encode_order(order, topic) if tasks else None
        self.made.kafka.produce(topic, [(shadow_key(worker), value)])

    def shadows(self, operation: str = OPERATION) -> Shadows:
        """What workers say of the copies that they keep by this operation's order."""
        with Control(self.config) as control:
            return {
                worker: status.shadows
                for worker, status in control.statuses().items()
                if status.shadows_of == operation
            }

    def is_warm(self, *workers: str, operation: str = OPERATION, lag_max: int = 0) -> bool:
        """While records come, a copy is hardly ever at the very end."""
        told = self.shadows(operation)
        return all(
            (one := told.get(worker, {}).get(str(PLACES[worker]))) is not None
            and (one.is_current or 0 <= one.lag_records <= lag_max)
            and bool(one.durable)
            for worker in workers or PLACES
        )

    def goals(self) -> set[str]:
        """The keys of the goals that stand."""
        found = {one.key: one.value for one in self.made.kafka.read(self.operations)}
        return {key.decode() for key, value in found.items() if key and value and b"goal." in key}

    def running(self) -> dict[str, str]:
        """Who runs each task."""
        with Control(self.config) as control:
            return {one.task: one.worker for one in control.tasks() if one.state == "running"}

    def positions(self) -> Mapping[TopicPartition, Committed]:
        reader = InputConsumer(self.config)
        try:
            places = [TopicPartition(self.made.topic("in"), one) for one in range(4)]
            return reader.committed(places)
        finally:
            reader.close()

    @contextmanager
    def feeding(self) -> Iterator[Fed]:
        plan = FeedPlan.of(
            self.topology,
            0,
            operation=OPERATION,
            source=self.layout.subtopologies[0],
            target=self.next.subtopologies[0],
        )
        ports = KafkaPorts(self.config, stopping=threading.Event(), shares=4)
        begin = take_cut(plan, ports, timeout_s=PATIENCE_S)
        feeds = [Feed(plan, task, ports, starts={"totals": 0}) for task in range(4)]
        with RunningFeeds(feeds, ports.stopping) as running:
            yield Fed(plan, begin, running)


def directories(made: Application, host: str) -> set[str]:
    tasks = made.state_dir(host) / made.name / "worker-0" / "tasks"
    return {path.name for path in tasks.iterdir() if "layout" in path.name}


def shown_shadows(made: Application) -> Any:
    """What `streamer show shadows` prints."""
    where = ("--app", made.name, "--bootstrap-servers", made.kafka.bootstrap_servers)
    return answer("show", "shadows", *where)


def assert_exact(made: Application, layout: ApplicationLayout) -> None:
    history = cluster_history(
        described(made),
        Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers),
        inputs=made.topic("in"),
        output=made.topic("totals"),
        store="totals",
        layout=layout,
    )
    verdict = check(history, per_key(Total, add))
    assert verdict, verdict
    assert verdict.inputs


@thorough
def test_tasks_go_on_where_their_copies_are_and_restore_the_tail_alone(
    application: Any, wait_until: Any
) -> None:
    made = application("tally", outputs=("totals",), partitions=4)
    fold = Fold(made)
    # So that restoring a task as a whole would be seen.
    made.kafka.produce(made.topic("in"), [(f"customer-{n}", "1") for n in range(KEYS)])
    first, second = made.worker("a", worker_id="w-a"), made.worker("b", worker_id="w-b")
    made.wait_until_done(watch=[first, second])
    with Feeder(made, rate=300) as feeder:
        write_layout(fold.config, fold.admin, fold.layout)
        fold.make_topics()
        with fold.feeding() as fed:
            for worker, task in PLACES.items():
                fold.order(worker, task)
            wait_until(lambda: fold.is_warm(lag_max=LAG_MAX), what="warm copies")
            # A copy is none of a task that is there, nor does it serve.
            assert {*first.tasks(), *second.tasks()} == {"0_0", "0_1", "0_2", "0_3"}
            assert first.standbys() == second.standbys() == {}
            assert first.metric("streamer_shadow_lag_records", task="0_1.layout-2") >= 0
            shown = shown_shadows(made)
            assert [(one["task"], one["worker"]) for one in shown] == [
                ("0_0", "w-b"),
                ("0_1", "w-a"),
            ]
            assert {one["operation"] for one in shown} == {OPERATION}
            assert all(0 <= one["lag_records"] <= KEYS for one in shown)

            # It goes on from what its disk has.
            first.kill()
            first = made.worker("a", worker_id="w-a")
            first.wait_for("task 0_1 of layout 2: keeping a copy")
            left = first.wait_for("task 0_1.layout-2: restoring").split()
            assert int(left[-2]) < KEYS // 4
            wait_until(lambda: fold.is_warm(lag_max=LAG_MAX), what="warm copies after a restart")
            assert directories(made, "a") == {"0_1.layout-2", "0_1.layout-2.shadow"}

            # A piece of a goal that the controller of layout 1 has left.
            left_over = encode_goal(GoalRecord(shape="of layout 1", copies={"0_3": ("w-b",)}))
            made.kafka.produce(fold.operations, [("goal.5", left_over)])
            fed.running.check()
            switch(fold, fed)
        for name, worker in {"w-a": first, "w-b": second}.items():
            worker.wait_for("2 tasks in all, layout 2")
            worker.wait_for(f"task {PLACES[name]} of layout 2 begins with its copy")
        wait_until(
            lambda: fold.running() == {str(task): worker for worker, task in PLACES.items()},
            what="each task where its copy is",
        )
        for worker in PLACES:
            fold.order(worker)
        feeder.stop()
    made.wait_until_done(watch=[first, second])
    # Half of the keys and more are in the changelog of each.
    assert first.started()["0_1"].restored < KEYS // 20
    assert second.started()["0_0"].restored < KEYS // 20
    assert_exact(made, fold.next)
    assert fold.goals() == set()
    assert directories(made, "a") == {"0_1.layout-2"}
    assert directories(made, "b") == {"0_0.layout-2"}
    assert fold.shadows() == {}
    assert shown_shadows(made) == []
    assert [worker.stop() for worker in (first, second)] == [0, 0]


def switch(fold: Fold, fed: Fed) -> None:
    """Pause, feed the rest, prove it, and switch."""
    sources = [TopicPartition(fed.plan.stores[0].source, task) for task in range(4)]
    now = KafkaPorts(fold.config, stopping=threading.Event())
    with LayoutRight.claim(fold.config, fold.admin) as right:
        right.pause(lease_ms=120_000)
        right.wait_until_held(timeout_s=PATIENCE_S)
        ends = now.ends(sources)
        fed.running.drain_to(
            {one.partition: {"totals": end} for one, end in ends.items()}, timeout_s=PATIENCE_S
        )
        fed.running.close()
        assert prove(fed.plan, now, fed.begin, timeout_s=PATIENCE_S) == []
        rows = goal_rows(fold.made.name, 2, {worker: [task] for worker, task in PLACES.items()})
        right.switch(fold.next, fold.positions(), operation=OPERATION, rows=rows)


@thorough
def test_an_order_that_is_taken_back_leaves_nothing_for_the_next_operation(
    application: Any, wait_until: Any
) -> None:
    made = application("tally", outputs=("totals",), partitions=4)
    fold = Fold(made)
    worker = made.worker("a", worker_id="w-a")
    worker.wait_started(4)
    write_layout(fold.config, fold.admin, fold.layout)
    rows = [(f"k{number}", row(1, b"{}", StoreKind.KEY_VALUE)) for number in range(9)]
    for operation in ("fold-0", OPERATION):
        fold.make_topics()
        made.kafka.produce(fold.changelog, rows, partition=1)
        fold.order("w-a", PLACES["w-a"], operation=operation)
        wait_until(lambda name=operation: fold.is_warm("w-a", operation=name), what=operation)
        assert directories(made, "a") == {"0_1.layout-2", "0_1.layout-2.shadow"}
        if operation == "fold-0":
            # It is away while the operation is given up and another one begins.
            worker.kill()
            fold.order("w-a")
            made.kafka.delete(fold.changelog)
            wait_until(lambda: not made.kafka.partitions(fold.changelog), what="no changelog")
            rows = [*rows, *rows]
            worker = made.worker("a", worker_id="w-a")
            wait_until(lambda: not directories(made, "a"), what="nothing left")
    assert not [line for line in worker.messages if "is made anew" in line]
    fold.order("w-a")
    wait_until(lambda: not directories(made, "a"), what="nothing left")
    assert fold.running() == {f"0_{number}": "w-a" for number in range(4)}
    assert worker.stop() == 0
