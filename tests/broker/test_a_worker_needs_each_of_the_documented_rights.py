"""On a Kafka with TLS, passwords and an authorizer: the commands of docs/security.md for workers
are carried out as they stand there, and then without one right after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.broker.conftest import wait_until
from tests.broker.rights import (
    RECORDS,
    check,
    documented,
    lacking,
    purchases,
    start_two,
    wait_until_done,
)
from tests.broker.secured import PASSWORD, Grant, SecuredApplication, SecuredKafka
from tests.broker.workers import Worker
from tests.thorough import thorough_but

pytestmark = pytest.mark.long

# A worker starts in two seconds of a CPU.
AT_ONCE = 3


@pytest.fixture(scope="module")
def running(
    secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredApplication]:
    made = SecuredApplication(secured, "running", tmp_path_factory.mktemp("running"))
    start_two(made)
    yield made
    made.close()


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
    # Some clients read one of them, some two, and which client says it first is open.
    "Read topic N.*": "Read on topic N. | Read on one of the topics N.",
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

# One of each kind, and the two after which a worker may go on.
SOME = [
    "Read topic in-of-N, but Describe",
    "Write topic out-of-N, but Describe",
    "Create topic N-*",
    "Write topic N.*",
    "Read group N, but Describe",
    "Write transactional-id N-*",
]

# The tasks that read or write there stop, and the others go on, unless none of them has begun, or
# the first record of a transaction was theirs: then it never began there, and the worker ends.
MAY_GO_ON = {
    "Write topic out-of-N, but Describe": "task 1_1 has stopped",
    "Read topic in-of-N, but Describe": "task 0_1 has stopped",
}


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

    def start(self, wanted: Collection[str]) -> None:
        for number, one in enumerate(one for one in LACKING if one in wanted):
            self._runs[one] = self._pool.submit(self._run, one, f"denied-{number}")

    def worker(self, one: str) -> Worker:
        """When it has ended, or said enough."""
        return self._runs[one].result(240)

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
            worker.wait()
        return worker


@pytest.fixture(scope="module")
def denied(
    secured: SecuredKafka,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Denied]:
    runs = Denied(secured, tmp_path_factory.mktemp("denied"))
    here = (one for one in request.session.items if one.path == request.path)
    runs.start([one.callspec.params["one"] for one in here if hasattr(one, "callspec")])
    yield runs
    runs.close()


@pytest.mark.parametrize("one", thorough_but(SOME, list(LACKING)))
def test_a_worker_without_one_of_the_rights_names_it(one: str, denied: Denied) -> None:
    worker = denied.worker(one)
    if one in MAY_GO_ON and worker.is_alive:
        text = worker.wait_for("has stopped")
    else:
        assert worker.process.returncode == 2, worker.tail()
        text = worker.error
    wanted = LACKING[one].replace("N", worker.log.parent.name)
    assert any(each in text for each in wanted.split(" | ")), text
    assert PASSWORD not in worker.text
    assert " is not granted (" in text
    assert "\nhint: grant it to the user of the kafka settings: kafka-acls.sh --add " in text


def test_a_right_that_is_taken_from_a_running_worker_ends_it(
    secured: SecuredKafka, running: SecuredApplication
) -> None:
    [worker] = [each for each in running.workers if each.is_alive]
    secured.revoke(running.name, [Grant("Read", "--group", running.name, False)])
    running.kafka.produce(running.topic("in"), purchases(0, 10))
    assert worker.wait() == 2
    assert f"Read on group {running.name} is not granted" in worker.error
