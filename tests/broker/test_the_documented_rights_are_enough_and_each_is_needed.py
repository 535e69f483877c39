"""On a Kafka with TLS, passwords and an authorizer: the commands of docs/security.md are carried
out as they stand there, and then without one right after the other."""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trustme

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.operator import Operator
from streamer.control.plans import PLAN_FORMAT, Plan
from streamer.errors import ConfigError
from streamer.kafka.admin import Admin
from streamer.kafka.producer import WorkerProducer
from streamer.kafka.reading import read_topic
from streamer.kafka.settings import check as check_settings
from streamer.operations.executor import Executor
from streamer.operations.kinds import Kinds
from streamer.operations.snapshot import Snapshot
from streamer.operations.table import KafkaTable
from streamer.operations.trim.kind import open_world
from streamer.operations.trim.sizes import sampled_sizes
from streamer.operations.trim.survey import survey
from tests.broker.conftest import wait_until
from tests.broker.secured import (
    PASSWORD,
    Grant,
    SecuredApplication,
    SecuredKafka,
    granted,
)
from tests.broker.workers import Worker

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
CITIES, RECORDS = 5, 2_000
# A worker starts in two seconds of a CPU.
AT_ONCE = 3


def documented(heading: str, application: str) -> list[Grant]:
    """What the commands below a heading grant, for an application of this name."""
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    topics = {"purchases": f"in-of-{application}", "customer-totals": f"out-of-{application}"}
    commands = re.findall(r"^\$acls (--add (?:.*\\\n)*.*)$", section, re.MULTILINE)
    assert commands, heading
    return [
        grant._replace(name=topics.get(grant.name) or grant.name.replace("spend", application))
        for command in commands
        for grant in granted(command)
    ]


def purchases(begin: int, count: int) -> list[tuple[str, str]]:
    return [
        (f"customer-{row % 60}", json.dumps({"city": f"city-{row % CITIES}", "cents": row % 100}))
        for row in range(begin, begin + count)
    ]


def check(application: SecuredApplication, count: int) -> None:
    """The sums of all that was written so far; what is doubled or lost shows in them."""
    wanted: Counter[str] = Counter()
    for _customer, text in purchases(0, count):
        wanted[json.loads(text)["city"]] += json.loads(text)["cents"]
    found: dict[str, int] = {}
    for record in application.kafka.read(application.topic("out")):
        city, cents = (record.key or b"").decode(), int(record.value or b"0")
        assert cents >= found.get(city, 0)
        found[city] = cents
    assert found == wanted


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    broker = SecuredKafka(tmp_path_factory.mktemp("secured"))
    yield broker
    broker.close()


# -- a worker --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(
    secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredApplication]:
    """An application with two workers that have the documented rights and no others."""
    made = SecuredApplication(secured, "running", tmp_path_factory.mktemp("running"))
    secured.grant(made.name, documented("A worker", made.name))
    made.kafka.produce(made.topic("in"), purchases(0, RECORDS))
    for host in ("a", "b"):
        made.worker(host, commit_interval_ms=50, log_level="DEBUG")
    wait_until_done(made)
    yield made
    made.close()


def wait_until_done(made: SecuredApplication) -> None:
    alive = [worker for worker in made.workers if worker.is_alive]
    made.wait_until_done(made.topic("in"), f"{made.name}-cities-repartition", watch=alive)


def test_two_workers_with_the_documented_rights_survive_a_kill(running: SecuredApplication) -> None:
    check(running, RECORDS)
    first, second = running.workers[:2]
    wait_until(lambda: len(second.tasks()) == 2, what="a share for the second worker")
    running.kafka.produce(running.topic("in"), purchases(RECORDS, RECORDS))
    first.kill()
    running.kafka.produce(running.topic("in"), purchases(2 * RECORDS, RECORDS))
    wait_until_done(running)
    check(running, 3 * RECORDS)
    for worker in (first, second):
        assert PASSWORD not in worker.text
        # What is beyond the least is missed, and nothing else.
        warned = [line for line in worker.messages if "is not granted" in line]
        assert all("Describe on group running." in line for line in warned)


# What a worker says that lacks one of the rights, or has no more than Describe in its place. `Read`
# and `Write` also stand for `Describe`, which may be what it needs first.
LACKING = {
    "Read topic in-of-N": "looking up in-of-N: Describe on topic in-of-N",
    "Read topic in-of-N, but Describe": "Read on topic in-of-N",
    "Write topic out-of-N": "looking up out-of-N: Describe on topic out-of-N",
    "Write topic out-of-N, but Describe": "writing in a transaction: Write on topic out-of-N",
    "Create topic N-*": "creating N-purchases-changelog: Create on topic N-purchases-changelog",
    "Read topic N-*": "Read on topic N-",
    # One topic or several, as far as the transaction had come.
    "Write topic N-*": "writing in a transaction: Write on ",
    "Delete topic N-*": "deleting processed records of N-cities-repartition: Delete on topic"
    " N-cities-repartition",
    "Create topic N.*": "creating N.members: Create on topic N.members",
    # Each client reads two of them, and which of the clients says it first is open.
    "Read topic N.*": "Read on one of the topics N.",
    "Write topic N.*": "Write on topic N.",
    "Read group N": "reading input: Read on group N",
    "Read group N, but Describe": "adding positions to the transaction: Read on group N",
    # Kafka refuses the looking up of the group's coordinator or the joining, whichever comes first.
    "Read group N.members*": " on group N.members",
    "Read group N.members*, but Describe": "Read on group N.members",
    "Write transactional-id N-*": "taking over transactional id 'N-w1': Write on transactional id"
    " N-w1",
    "Write transactional-id N.controller": "taking over N.controller: Write on transactional id"
    " N.controller",
    "Write transactional-id N.controller, but Describe": "taking over N.controller: Write on"
    " transactional id N.controller",
}
# The tasks that read or write there stop, and the others go on, unless none of them has begun, or
# the first record of a transaction was theirs: then it never began there, and the worker ends.
MAY_GO_ON = {
    "Write topic out-of-N, but Describe": "task 1_1 has stopped",
    "Read topic in-of-N, but Describe": "task 0_1 has stopped",
}


def lacking(grant: Grant, application: str) -> str:
    return str(grant).replace(application, "N")


def test_every_documented_right_is_tried() -> None:
    documented_ones = [lacking(grant, "N") for grant in documented("A worker", "N")]
    assert documented_ones == [one for one in LACKING if ", but " not in one]


class Denied:
    """Workers that lack one right each, started a few at a time."""

    def __init__(self, broker: SecuredKafka, directory: Path) -> None:
        self._broker = broker
        self._directory = directory
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._made: list[SecuredApplication] = []
        self._runs: dict[str, Future[Worker]] = {}

    def start(self) -> None:
        for number, one in enumerate(LACKING):
            self._runs[one] = self._pool.submit(self._run, one, f"denied-{number}")

    def worker(self, one: str) -> Worker:
        """When it has ended, or said enough."""
        return self._runs[one].result(60)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for made in self._made:
            made.close()

    def _run(self, one: str, name: str) -> Worker:
        made = SecuredApplication(self._broker, name, self._directory / name)
        self._made.append(made)
        taken, _, rest = one.partition(", but ")
        grants = {lacking(each, name): each for each in documented("A worker", name)}
        gone = grants.pop(taken)
        if rest:
            grants[one] = gone._replace(operation=rest)
        self._broker.grant(name, grants.values())
        made.kafka.produce(made.topic("in"), purchases(0, 200))
        worker = made.worker(http_port=-1, worker_id="w1")
        if said := MAY_GO_ON.get(one):
            wait_until(lambda: not worker.is_alive or said in worker.text)
        else:
            worker.wait(50)
        return worker


@pytest.fixture(scope="module")
def denied(secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Denied]:
    runs = Denied(secured, tmp_path_factory.mktemp("denied"))
    runs.start()
    yield runs
    runs.close()


@pytest.mark.parametrize("one", LACKING)
def test_a_worker_without_one_of_the_rights_names_it(one: str, denied: Denied) -> None:
    worker = denied.worker(one)
    if one in MAY_GO_ON and worker.is_alive:
        text = worker.wait_for("has stopped")
    else:
        assert worker.process.returncode == 2, worker.tail()
        text = worker.error
    assert LACKING[one].replace("N", worker.log.parent.name) in text
    assert PASSWORD not in worker.text
    assert " is not granted (" in text
    assert "\nhint: grant it to the user of the kafka settings: kafka-acls.sh --add " in text


# -- an operator -----------------------------------------------------------------------------------


def asked(settings: dict[str, Any], running: SecuredApplication) -> dict[str, Any]:
    """All that `streamer show` asks for."""
    config = Config(
        application_id=running.name, bootstrap_servers=running.broker.address, kafka=settings
    )
    with Control(config) as control:
        workers = {each.worker: each.is_alive for each in control.workers()}
        return {"workers": workers, "lag": control.lag(), "unread": control.unread()}


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
        assert operator.propose(timeout_s=20).after == {}
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


# -- the door --------------------------------------------------------------------------------------


def token(user: str) -> tuple[str, float]:
    """One that says who it is for, and that nobody has signed."""
    now_s = time.time()
    parts = [{"alg": "none"}, {"sub": user, "iat": now_s, "exp": now_s + 3_600}]
    texts = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{texts[0]}.{texts[1]}.", now_s + 3_600


def by_password(broker: SecuredKafka) -> tuple[str, str, dict[str, Any]]:
    return "pia", "SASL_SSL", broker.user("pia")


def by_certificate(broker: SecuredKafka) -> tuple[str, str, dict[str, Any]]:
    return "carl", "SSL", broker.certificate("carl")


def by_token(broker: SecuredKafka) -> tuple[str, str, dict[str, Any]]:
    settings = broker.user("tom") | {
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.config": "tom",
        "oauth_cb": token,
    }
    del settings["sasl.username"], settings["sasl.password"]
    return "tom", "SASL_SSL", settings


@pytest.mark.parametrize("way", [by_password, by_certificate, by_token])
def test_every_client_comes_in_by_password_certificate_or_token(
    secured: SecuredKafka, way: Callable[[SecuredKafka], tuple[str, str, dict[str, Any]]]
) -> None:
    user, listener, settings = way(secured)
    topic = f"{way.__name__}-topic"
    secured.kafka.create(topic, partitions=1)
    grants = [Grant(operation, "--topic", topic, False) for operation in ("Read", "Write")]
    secured.grant(user, grants)
    config = Config(
        application_id=way.__name__,
        bootstrap_servers=secured.sandbox.address(listener),
        kafka=settings,
    )
    check_settings(config)
    producer = WorkerProducer(config, None)
    producer.send(topic, [b"k"], [b"v"], timestamps=[1])
    producer.commit({}, None)
    producer.close()
    [record] = read_topic(config, topic)
    assert (record.key, record.value) == (b"k", b"v")


def test_who_is_not_let_in_is_told_after_seconds(secured: SecuredKafka, tmp_path: Path) -> None:
    settings = secured.user("eve")
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    wrong = {
        "invalid credentials": settings | {"sasl.password": "no " + PASSWORD},
        "certificate verify failed": settings | {"ssl.ca.location": str(stranger)},
    }

    def said(kafka: dict[str, str]) -> str:
        config = Config(application_id="eve", bootstrap_servers=secured.address, kafka=kafka)
        with pytest.raises(ConfigError, match="do not let this client in") as raised:
            # As a worker does at its start.
            Admin(config, stopping=threading.Event()).topics()
        return raised.value.describe()

    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for reason, text in zip(wrong, pool.map(said, wrong.values()), strict=True):
            assert reason in text
            assert PASSWORD not in text
    assert time.monotonic() - began < 20


def test_a_right_that_is_taken_from_a_running_worker_ends_it(
    secured: SecuredKafka, running: SecuredApplication
) -> None:
    [worker] = [each for each in running.workers if each.is_alive]
    secured.revoke(running.name, [Grant("Read", "--group", running.name, False)])
    running.kafka.produce(running.topic("in"), purchases(0, 10))
    assert worker.wait() == 2
    assert f"Read on group {running.name} is not granted" in worker.error
