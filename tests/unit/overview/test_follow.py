"""One reader for all who look: it begins and ends with them, and no trouble ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.errors import ConfigError, KafkaUnavailableError
from streamer.overview.follow import Follower, View
from streamer.overview.inventory import Inventory
from streamer.overview.seen import Seen
from tests.unit.overview.fleets import NOW_MS, fleet_of
from tests.unit.overview.records import books_of, operation

CONFIG = Config(application_id="shop")
AWAY = KafkaUnavailableError("no broker has answered", hint="check that the brokers run")


class Kafka:
    """What control topics say, and whether anybody can be asked."""

    def __init__(self) -> None:
        self.seen = fleet_of({"az=1": 1, "az=2": 1}, per_worker=1).seen()
        self.away: Exception | None = None
        self.opened: list[Config] = []
        self.open = 0

    def watch(self, config: Config, _stopping: threading.Event) -> Watching:
        if self.away is not None:
            raise self.away
        self.opened.append(config)
        self.open += 1
        return Watching(self)


class Watching:
    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self.knows_assignments = False

    def look(self) -> Seen:
        if self._kafka.away is not None:
            raise self._kafka.away
        if self.knows_assignments:
            return self._kafka.seen
        return replace(self._kafka.seen, assignments=None)

    def read_assignments(self) -> None:
        self.knows_assignments = True

    def close(self) -> None:
        self._kafka.open -= 1


class Surveys:
    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    def survey(self, _config: Config, _seen: Seen) -> Inventory:
        self.count += 1
        if self.fails:
            raise RuntimeError("the disk says no")
        return Inventory(looked_ms=self.count)


class Stage:
    """A follower on a stage: `config` is what the connection says."""

    def __init__(self) -> None:
        self.kafka, self.surveys = Kafka(), Surveys()
        self.clock = ManualClock(NOW_MS)
        self.config: Config | Exception = CONFIG
        self.follower = Follower(
            self._load,
            clock=self.clock,
            watch=self.kafka.watch,
            surveyor=lambda _stopping: self.surveys,
            idle_ms=1_000,
            pace_ms=1,
            retry_ms=1,
        )

    def _load(self) -> Config:
        if isinstance(self.config, Exception):
            raise self.config
        return self.config

    def until(self, is_so: Callable[[View], object]) -> View:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            view = self.follower.view()
            if is_so(view):
                return view
            time.sleep(0.002)
        raise AssertionError(f"it did not come: {self.follower.view()}")


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.follower.close()


def ended(stage: Stage) -> bool:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and (stage.follower.is_running or stage.kafka.open):
        time.sleep(0.002)
    return not stage.follower.is_running and not stage.kafka.open


def test_whoever_looks_first_waits_for_nothing(stage: Stage) -> None:
    assert stage.follower.view() == View()


def test_all_who_look_share_one_reader(stage: Stage) -> None:
    view = stage.until(lambda one: one.fleet is not None and one.fleet.seen.assignments)
    assert view.fleet is not None
    assert view.fleet.totals.tasks == 2
    for _ in range(100):
        stage.follower.view()
    assert len(stage.kafka.opened) == 1


def test_nobody_runs_for_those_who_do_not_look(stage: Stage) -> None:
    stage.until(lambda one: one.fleet)
    stage.clock.advance(1_000)
    assert ended(stage)

    seen = stage.follower.view()
    assert seen.fleet is not None  # what was seen last is there at once
    stage.until(lambda one: one.version > seen.version)
    assert len(stage.kafka.opened) == 2


def test_kafka_away_is_told_with_what_was_seen_before(stage: Stage) -> None:
    # An inventory that comes later is a change of its own.
    before = stage.until(lambda one: one.heard_ms and one.inventory)
    stage.kafka.away = AWAY
    view = stage.until(lambda one: one.trouble)
    assert view.trouble is not None
    assert (view.trouble.message, view.trouble.hint) == (AWAY.message, AWAY.hint)
    assert view.fleet is not None
    assert view.heard_ms == before.heard_ms

    since_ms = view.trouble.since_ms
    stage.clock.advance(500)
    again = stage.follower.view()
    time.sleep(0.05)
    assert again.trouble is not None
    assert again.trouble.since_ms == since_ms
    assert stage.follower.view().version == again.version

    stage.kafka.away = None
    stage.until(lambda one: one.trouble is None)
    assert stage.kafka.open == 1


def test_kafka_that_was_never_there_is_told_too(stage: Stage) -> None:
    stage.kafka.away = AWAY
    view = stage.until(lambda one: one.trouble)
    assert (view.fleet, view.heard_ms) == (None, 0)
    stage.kafka.away = None
    stage.until(lambda one: one.fleet)


def test_a_connection_that_is_wrong_is_told(stage: Stage) -> None:
    stage.config = ConfigError("connection shop: it has no application", hint="edit it")
    view = stage.until(lambda one: one.trouble)
    assert view.trouble is not None
    assert view.trouble.hint == "edit it"
    stage.config = LookupError("the conn_id `shop` isn't defined")
    view = stage.until(lambda one: one.trouble and "isn't defined" in one.trouble.message)
    assert view.trouble is not None
    assert view.trouble.message.startswith("LookupError")
    stage.config = CONFIG
    stage.until(lambda one: one.fleet)


def test_a_connection_that_was_changed_is_followed_anew(stage: Stage) -> None:
    stage.until(lambda one: one.fleet)
    stage.config = Config(application_id="other")
    stage.until(lambda one: one.version > 10)
    assert len(stage.kafka.opened) == 1  # the settings are not read all the time
    for _ in range(61):
        stage.clock.advance(990)
        stage.follower.view()
    stage.until(lambda _one: len(stage.kafka.opened) == 2)
    assert stage.kafka.opened[1].application_id == "other"
    assert stage.kafka.open == 1


def test_what_lies_on_disks_is_looked_at_once_and_when_an_operation_has_ended(
    stage: Stage,
) -> None:
    stage.until(lambda one: one.inventory)
    stage.until(lambda one: one.version > 20)
    assert stage.surveys.count == 1
    stage.kafka.seen = replace(stage.kafka.seen, books=books_of(operation("trim-1", state="done")))
    view = stage.until(lambda _one: stage.surveys.count == 2)
    stage.until(lambda one: one.version > view.version + 10)
    assert stage.surveys.count == 2


def test_what_cannot_be_looked_at_is_told(stage: Stage) -> None:
    stage.surveys.fails = True
    view = stage.until(lambda one: one.inventory)
    assert view.inventory is not None
    assert view.inventory.trouble == "RuntimeError: the disk says no"


def test_closed_it_ends_and_does_not_begin_again(stage: Stage) -> None:
    stage.until(lambda one: one.fleet)
    stage.follower.close()
    assert ended(stage)
    stage.follower.view()
    assert not stage.follower.is_running
