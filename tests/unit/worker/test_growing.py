"""A worker that finds topics narrower than the layout that was recorded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

import pytest

from streamer.config import Config
from streamer.errors import ConfigError, StoppedError
from streamer.ids import Layout
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.worker import growing
from streamer.worker.growing import await_growth, widths

CONFIG = Config(application_id="shop", bootstrap_servers="127.0.0.1:1")
INPUTS = {"in": InputLayout(6), "shop-again-repartition": InputLayout(6, is_internal=True)}
GROWN = ApplicationLayout(Layout(2), {0: SubtopologyLayout(6, Layout(2), INPUTS, "grow")})
FOLDED = ApplicationLayout(
    Layout(2), {0: SubtopologyLayout(2, Layout(2), {"in": InputLayout(6)}, "fold")}
)


WANTED = widths(GROWN, ["in"])


class Brokers:
    """A topic of 4 partitions, until somebody gives it more."""

    def __init__(self, *, looks: int = 10_000) -> None:
        self.width = 4
        self.looks = looks
        self.asked: list[list[str]] = []

    def partitions(self, topics: list[str]) -> dict[str, int]:
        self.asked.append(topics)
        if len(self.asked) > self.looks:
            self.width = 6
        return dict.fromkeys(topics, self.width)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "_PAUSE_S", 0.001)
    monkeypatch.setattr(growing, "_ITSELF_S", 0.005)
    monkeypatch.setattr(growing, "_AGAIN_S", 0.005)


def never(_config: Config, _wanted: Mapping[str, int]) -> None:
    raise AssertionError("nobody asked for it")


@pytest.mark.parametrize(
    ("layout", "read"), [(None, ["in"]), (FOLDED, ["in"]), (GROWN, ["another"])]
)
def test_where_nothing_was_grown_nobody_is_asked(
    layout: ApplicationLayout | None, read: list[str]
) -> None:
    brokers = Brokers()
    await_growth(CONFIG, brokers, widths(layout, read), stopping=threading.Event(), grow=never)
    assert brokers.asked == []


def test_the_operation_has_a_moment_for_it() -> None:
    brokers = Brokers(looks=2)
    await_growth(CONFIG, brokers, WANTED, stopping=threading.Event(), grow=never)
    assert brokers.asked == [["in"]] * 3


def test_where_the_operation_died_the_worker_does_it() -> None:
    brokers = Brokers()
    wanted: list[Mapping[str, int]] = []

    def grow(_config: Config, topics: Mapping[str, int]) -> None:
        wanted.append(topics)
        brokers.width = 6

    await_growth(CONFIG, brokers, WANTED, stopping=threading.Event(), grow=grow)
    assert wanted == [{"in": 6}]


def test_without_the_right_it_says_so_once_and_waits(caplog: pytest.LogCaptureFixture) -> None:
    brokers = Brokers(looks=20)

    def refuse(_config: Config, _wanted: Mapping[str, int]) -> None:
        raise ConfigError("not allowed: Alter on topic in")

    with caplog.at_level(logging.WARNING):
        await_growth(CONFIG, brokers, WANTED, stopping=threading.Event(), grow=refuse)
    (line,) = caplog.messages
    assert line.startswith("not allowed: Alter on topic in. Waiting until the operation")


def test_whoever_is_to_stop_does() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(StoppedError, match="in has more partitions"):
        await_growth(CONFIG, Brokers(), WANTED, stopping=stopping, grow=never)
