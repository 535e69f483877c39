"""The commands of docs/security.md for operators, and for those who move tasks, run operations,
trim, repartition and have snapshots made, are carried out as they stand, and then without one of
the rights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.operator import Operator
from streamer.control.plans import PLAN_FORMAT, Plan
from streamer.errors import ConfigError
from streamer.operations.completion.kind import Completion
from streamer.operations.completion.survey import survey as completed
from streamer.operations.executor import Executor
from streamer.operations.kinds import Kinds
from streamer.operations.repartition.kind import Repartition
from streamer.operations.repartition.survey import survey as surveyed
from streamer.operations.snapshot import Snapshot
from streamer.operations.table import KafkaTable
from streamer.operations.trim.kind import open_world
from streamer.operations.trim.sizes import sampled_sizes
from streamer.operations.trim.survey import survey
from tests.broker.conftest import wait_until
from tests.broker.exact import described
from tests.broker.rights import (
    RECORDS,
    check,
    documented,
    lacking,
    start_two,
    wait_until_done,
)
from tests.broker.secured import SecuredApplication, SecuredKafka
from tests.thorough import thorough


@pytest.fixture(scope="module")
def running(
    secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredApplication]:
    """Of its two workers one was killed, and the other one has all tasks."""
    made = SecuredApplication(secured, "running", tmp_path_factory.mktemp("running"))
    start_two(made)
    first, second = made.workers
    first.kill()
    wait_until(lambda: len(second.running()) == 4, what="a take-over of all tasks")
    wait_until_done(made)
    yield made
    made.close()


def asked(settings: dict[str, Any], running: SecuredApplication) -> dict[str, Any]:
    """All that `streamer show` asks for."""
    config = Config(
        application_id=running.name, bootstrap_servers=running.broker.address, kafka=settings
    )
    with Control(config) as control:
        workers = {each.worker: each.is_alive for each in control.workers()}
        return {"workers": workers, "lag": control.lag(), "unread": control.unread()}


def test_an_operator_sees_everything_with_the_documented_rights(
    secured: SecuredKafka, running: SecuredApplication
) -> None:
    settings = secured.user("ops")
    secured.grant("ops", documented("An operator", running.name))
    found = asked(settings, running)
    assert sorted(found["workers"].values()) == [False, True]
    assert found["lag"] == dict.fromkeys(["0_0", "0_1", "1_0", "1_1"], 0)
    assert found["unread"] == 0


# Without the last, topics that may not be seen are as topics that do not exist.
UNSEEN = {
    "Read topic N.assignments": "looking up N.assignments: Describe on topic N.assignments",
    "Read topic N.status": "looking up N.status: Describe on topic N.status",
    "Describe group N.members*": "asking for the members of N.members.",
    "Describe group N": "asking for the positions of N: Describe on group N",
    "Describe topic in-of-N": "",
}


@pytest.mark.parametrize("one", UNSEEN)
def test_an_operator_without_one_of_the_rights_is_told_which(
    secured: SecuredKafka, running: SecuredApplication, one: str
) -> None:
    grants = {lacking(each, running.name): each for each in documented("An operator", running.name)}
    assert list(grants) == list(UNSEEN)
    user = f"ops-{list(UNSEEN).index(one)}"
    settings = secured.user(user)
    del grants[one]
    secured.grant(user, grants.values())
    if not UNSEEN[one]:
        assert asked(settings, running)["unread"] is None
        return
    with pytest.raises(ConfigError) as raised:
        asked(settings, running)
    said = str(raised.value)
    assert said.startswith(UNSEEN[one].replace("N", running.name))
    assert " is not granted" in said
    assert "kafka-acls.sh --add" in raised.value.hint


def test_whoever_moves_tasks_needs_one_more_right(
    secured: SecuredKafka, running: SecuredApplication
) -> None:
    settings = secured.user("mover")
    secured.grant("mover", documented("An operator", running.name))
    secured.grant("mover", documented("Someone who moves tasks", running.name))
    config = Config(
        application_id=running.name, bootstrap_servers=running.broker.address, kafka=settings
    )
    with Operator(config) as operator:
        assert operator.propose(timeout_s=240).after == {}
        plan = operator.plan()
        assert plan is not None
        assert plan.moves_left == 0


class Nothing:
    """A kind of operation that needs no rights of its own."""

    name = "nothing"

    def open(self, config: Config, request: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def plan(self, world: None, request: Any) -> Plan:
        return Plan(format=PLAN_FORMAT, kind=self.name, steps=())

    def steps(self, plan: Plan) -> list[Any]:
        return []


def test_whoever_runs_operations_needs_the_right_to_take_the_lock(
    secured: SecuredKafka, running: SecuredApplication
) -> None:
    settings = secured.user("keeper")
    for heading in ("An operator", "Someone who moves tasks"):
        secured.grant("keeper", documented(heading, running.name))
    config = Config(
        application_id=running.name, bootstrap_servers=running.broker.address, kafka=settings
    )
    with Executor(config, KafkaTable(config), Kinds([Nothing()])) as executor:
        operation = executor.propose("nothing", {}).id
        with pytest.raises(ConfigError) as raised:
            executor.start(operation)
        name = f"{running.name}.operations"
        assert str(raised.value).startswith(
            f"taking over {name}: Write on transactional id {name} is not granted"
        )
        secured.grant("keeper", documented("Someone who runs operations", running.name))
        assert executor.start(operation).state == "done"


TRIMS = ("An operator", "Someone who moves tasks", "Someone who runs operations")


def trims(secured: SecuredKafka, running: SecuredApplication, user: str, without: str) -> Config:
    """The settings of a user with all documented rights to trim but one."""
    settings = secured.user(user)
    for heading in TRIMS:
        secured.grant(user, documented(heading, running.name))
    grants = documented("Someone who trims", running.name)
    secured.grant(user, [each for each in grants if each.operation != without])
    return Config(
        application_id=running.name, bootstrap_servers=running.broker.address, kafka=settings
    )


def test_whoever_trims_needs_the_documented_rights(
    secured: SecuredKafka, running: SecuredApplication
) -> None:
    config = trims(secured, running, "trimmer", "")
    with open_world(config) as world:
        found = survey(world)
        parts = {part.place: part.floor for part in found.parts}
        assert len(parts) == 4, "two stores of two partitions each"
        for floor in parts.values():
            limits = [one.owner for one in floor.holders if one.position == floor.log.start]
            assert "the repository" in limits
            assert not [one for one in limits if one.startswith("the settings of")]
        sizes = sampled_sizes(config, {place: (0, one.log.end) for place, one in parts.items()})
        assert sizes.keys() == {place for place, one in parts.items() if one.log.end}
        world.logs.delete_before(dict.fromkeys(parts, 0))

    with open_world(trims(secured, running, "planner", "Delete")) as world:
        assert len(survey(world).parts) == 4
        with pytest.raises(ConfigError, match=r"Delete on .* is not granted"):
            world.logs.delete_before(dict.fromkeys(parts, 0))

    with open_world(trims(secured, running, "blind", "DescribeConfigs")) as world:
        for part in survey(world).parts:
            frees = [one.frees for one in part.floor.holders]
            assert "grant DescribeConfigs on the topic" in frees


def test_whoever_has_snapshots_made_needs_the_topic_of_orders(
    secured: SecuredKafka, running: SecuredApplication, tmp_path: Path
) -> None:
    settings = secured.user("maker")
    headings = ("An operator", "Someone who moves tasks", "Someone who runs operations")
    grants = [each for heading in headings for each in documented(heading, running.name)]
    orders = f"{running.name}.orders"
    secured.grant("maker", [each for each in grants if each.name != orders])
    config = Config(
        application_id=running.name, bootstrap_servers=running.broker.address, kafka=settings
    )
    request = {"order": "by-maker", "repository": f"file://{tmp_path / 'place'}"}
    with Executor(config, KafkaTable(config), Kinds([Snapshot()])) as executor:
        operation = executor.propose("snapshot", request).id
        for right, said in (
            ("Read", f"Describe on topic {orders} is not granted"),
            ("Write", f"Write on one of the topics {running.name}.operations, {orders} is not"),
        ):
            failed = executor.start(operation)
            assert failed.trouble is not None
            assert said in failed.trouble.message
            [missing] = [e for e in grants if (e.name, e.operation) == (orders, right)]
            secured.grant("maker", [missing])
        done = executor.start(operation)
        assert done.state == "done", done.trouble
    made = sorted(path.name for path in (tmp_path / "place").glob("applications/*/*/*"))
    assert made == ["0_0", "0_1", "1_0", "1_1"]


@thorough
def test_whoever_repartitions_needs_the_documented_rights(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    made = SecuredApplication(secured, "folded", tmp_path)
    secured.grant(made.name, documented("Beyond the least", made.name))
    start_two(made)
    settings = secured.user("folder")
    for heading in TRIMS:
        secured.grant("folder", documented(heading, made.name))
    grants = documented("Someone who repartitions", made.name)
    altering = [each for each in grants if each.operation == "AlterConfigs"]
    growing = [each for each in grants if each.operation == "Alter"]
    secured.grant("folder", [each for each in grants if each not in altering + growing])
    config = Config(application_id=made.name, bootstrap_servers=made.broker.address, kafka=settings)
    request = surveyed(config, described(made).topology(), {0: 1, 1: 1}, number="fold-1")
    try:
        kinds = Kinds([Repartition(), Completion()])
        with Executor(config, KafkaTable(config), kinds) as executor:
            operation = executor.propose("repartition", request.plain(), operation="fold-1").id
            failed = executor.start(operation)
            assert failed.trouble is not None
            assert failed.trouble.step == "settle"
            assert "AlterConfigs on" in failed.trouble.message
            secured.grant("folder", altering)
            done = executor.start(operation)
            assert done.state == "done", done.trouble
            left = completed(config, executor.books(), ["fold-1"]).asked
            done = executor.start(executor.propose("completion", left.plain()).id)
            assert done.state == "done", done.trouble
            growth = surveyed(config, described(made).topology(), {0: 7}, number="grow-1").plain()
            with pytest.raises(ConfigError, match="Alter on topic"):
                executor.plan("repartition", growth)
            secured.grant("folder", growing)
            assert executor.plan("repartition", growth).lost
        check(made, RECORDS)
    finally:
        made.close()
