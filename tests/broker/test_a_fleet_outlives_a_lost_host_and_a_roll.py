"""Three hosts in a zone each, one of them with two processes: it is lost as a whole and comes back,
then a release is rolled through all. Somebody asks all the time, and is answered all the time.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from streamer.config import Config
from streamer.control.client import Control
from tests.broker import commands
from tests.broker.conftest import wait_until
from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, START_MS, Feeder
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

pytestmark = [pytest.mark.long]

PROCESSES = {"a": 2, "b": 1, "c": 1}
EVERY = {f"0_{number}" for number in range(6)}
KEYS = 60
FIRST = 4_000
_PAUSE_S = 0.02

Placed = dict[str, frozenset[str]]


class Fleet:
    """The workers of each host, and what they say of themselves."""

    def __init__(self, made: Application) -> None:
        self.made = made
        self.hosts = {host: self._start(host) for host in PROCESSES}
        for worker in self.hosts.values():
            worker.wait_for("joining as")
        servers = made.kafka.bootstrap_servers
        self.control = Control(Config(application_id=made.name, bootstrap_servers=servers))

    def _start(self, host: str) -> Worker:
        return self.made.worker(host, zone=f"az={host}", processes=PROCESSES[host])

    def start_again(self, host: str) -> None:
        self.hosts[host] = self._start(host)

    def on(self, host: str) -> set[str]:
        return {one.worker for one in self.control.workers() if one.host == host}

    def owned(self, host: str) -> set[str]:
        workers = self.on(host)
        return {one.task for one in self.control.tasks() if one.worker in workers}

    def running(self, *, without: str = "") -> set[str]:
        """Tasks that run, by one look at all of them; those of one host may be left out."""
        left_out = self.on(without)
        return {
            one.task
            for one in self.control.tasks()
            if one.state == "running" and not one.is_moving and one.worker not in left_out
        }

    def placed(self) -> Placed:
        """The workers that have the state of each task, in whatever role."""
        return {one.task: frozenset({one.worker, *one.standbys}) for one in self.control.tasks()}

    def moves(self) -> dict[str, Any]:
        """`streamer show moves --json`."""
        servers = ("--bootstrap-servers", self.made.kafka.bootstrap_servers)
        plan: dict[str, Any] = commands.answer("show", "moves", "--app", self.made.name, *servers)
        return plan

    def is_at_rest(self) -> bool:
        """As a release is rolled: everybody is there, and `streamer show moves` has none."""
        plan = self.moves()
        if plan.get("moves_left") or plan.get("away"):
            return False
        lags = [lag for one in self.control.tasks() for lag in one.standbys.values()]
        is_warm = len(lags) == len(EVERY) and None not in lags
        return self.running() == EVERY and is_warm and len(self.hosts) == len(self.owners())

    def owners(self) -> set[str]:
        hosts = {one.worker: one.host for one in self.control.workers() if one.is_alive}
        return {hosts.get(one.worker, "") for one in self.control.tasks()}


class Reader:
    """Asks for one key after the other from a thread, until the end of its block."""

    def __init__(self, keys: list[str], *workers: Worker) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.lag_max = 0
        self.wrong: list[str] = []
        self.totals: dict[str, Any] = {}
        """What every answer has to say, where it is known."""
        self._keys = keys
        self._addresses: tuple[str, ...] = ()
        self.ask(*workers)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def ask(self, *workers: Worker) -> None:
        """These from now on, once they know who has what."""
        addresses = tuple(worker.address for worker in workers)
        for url in (f"{one}/stores/totals/{key}" for one in addresses for key in self._keys):
            wait_until(lambda url=url: _asked(url)[0] == 200, what=f"an answer of {url}")
        self._addresses = addresses

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join(240)

    def _run(self) -> None:
        for number, key in enumerate(cycle(self._keys)):
            if self._is_over.wait(_PAUSE_S):
                return
            address = self._addresses[number % len(self._addresses)]
            status, body = _asked(f"{address}/stores/totals/{key}")
            self.answers[status, body.get("role", "owner")] += 1
            if status != 200 or self.totals.get(key, body["value"]) != body["value"]:
                self.wrong.append(f"{time.time():.3f} {address} {key}: {status} {body}")
            elif "role" in body:
                self.lag_max = max(self.lag_max, body["lag_records"])


def _asked(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(url, timeout=240) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError as error:
        return 0, {"error": repr(error)}


@pytest.fixture
def fleet(application: Any) -> Iterator[Fleet]:
    """At rest, with some state that is committed and copied."""
    # Longer than a roll of one host takes on the slowest machine.
    made: Application = application(
        "counts", outputs=OUTPUTS, partitions=6, standby_replicas=1, rebalance_delay_ms=600_000
    )
    found = Fleet(made)
    records = [(f"customer-{row % KEYS}", str(row % 100)) for row in range(FIRST)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: START_MS + row)
    made.wait_until_done(watch=found.hosts.values())
    wait_until(found.is_at_rest, what="a fleet at rest")
    yield found
    found.control.close()


@thorough
def test_no_record_no_state_and_no_answer_is_lost(fleet: Fleet) -> None:
    made = fleet.made
    keys = [f"customer-{number}" for number in range(KEYS)]
    with Reader(keys, fleet.hosts["b"], fleet.hosts["c"]) as reader:
        lose_a_host(fleet, reader)
        with Feeder(made, rate=400, keys=KEYS) as feeder:
            fleet.start_again("a")
            wait_until(fleet.is_at_rest, what="a fleet at rest again")
            for host, asked in (("b", "c"), ("c", "b"), ("a", "b")):
                reader.ask(fleet.hosts[asked])
                roll(fleet, host)
            written = feeder.stop()
    assert not reader.wrong, "\n".join(reader.wrong)
    print(f"answers by status and role: {dict(reader.answers)}, at most {reader.lag_max} behind")
    made.wait_until_done(watch=fleet.hosts.values())
    assert assert_exact(made).inputs == FIRST + written
    assert [worker.stop() for worker in fleet.hosts.values()] == [0, 0, 0]


def lose_a_host(fleet: Fleet, reader: Reader) -> None:
    """Nothing is written meanwhile, so copies that lack nothing answer what owners would."""
    lost, copies = fleet.hosts["a"], fleet.owned("a")
    assert len(fleet.on("a")) == PROCESSES["a"]
    assert len(lost.children()) == PROCESSES["a"]
    others = [fleet.hosts["b"], fleet.hosts["c"]]
    wait_until(
        lambda: all(lag == 0 for one in others for lag in one.standbys().values()),
        what="copies that lack nothing",
    )
    reader.totals = totals(fleet.made)
    wait_until(lambda: reader.answers[200, "owner"], what="an answer")
    lost.lose_host()
    wait_until(lambda: fleet.running(without="a") == EVERY, what="other owners")
    started = others[0].started() | others[1].started()
    assert {task: started[task].restored for task in copies} == dict.fromkeys(copies, 0)
    # While nobody ran the tasks their copies answered.
    assert reader.answers[200, "standby"]
    assert reader.lag_max == 0
    reader.totals = {}


def totals(made: Application) -> dict[str, Any]:
    """The last result of each key."""
    return {
        (one.key or b"").decode(): json.loads(one.value or b"null")
        for one in made.kafka.read(made.topic("totals"))
    }


def roll(fleet: Fleet, host: str) -> None:
    """Stopped, and started again within `rebalance_delay_ms`, under load."""
    made, before, workers = fleet.made, fleet.placed(), fleet.on(host)
    changelogs = [made.changelog(store) for store in ("totals", "closed", "every")]
    was_at = made.ends(*changelogs)
    assert fleet.hosts[host].stop() == 0
    wait_until(lambda: set(fleet.moves().get("away", ())) == workers, what="that it is waited for")
    wait_until(lambda: fleet.running(without=host) == EVERY, what="other owners")
    # Nobody builds a copy in its place.
    assert fleet.placed() == {task: copies - workers for task, copies in before.items()}
    fleet.start_again(host)
    wait_until(fleet.is_at_rest, what="a fleet at rest again")
    assert fleet.placed() == before
    # It read no more than was written while it was away.
    grown = sum(made.ends(*changelogs).values()) - sum(was_at.values())
    assert sum(one.restored for one in fleet.hosts[host].started().values()) <= grown
