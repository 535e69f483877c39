"""The ids of connections on the page: a source that does not answer stops nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

WAIT_S = 240.0


class Source:
    """Connections that are read when the test lets them."""

    def __init__(self) -> None:
        self.answers, self.asked, self.count = threading.Event(), threading.Event(), 0
        self.answers.set()

    def __call__(self) -> list[str]:
        self.count += 1
        self.asked.set()
        assert self.answers.wait(WAIT_S)
        return [f"read_{self.count}"]


@pytest.fixture
def expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was read stays new enough."""
    monkeypatch.setattr("streamer_airflow.web.connections._KEPT_S", 0.0)


def in_thread(ask: Callable[[], list[str]]) -> tuple[threading.Thread, list[list[str]]]:
    told: list[list[str]] = []
    thread = threading.Thread(target=lambda: told.append(ask()), daemon=True)
    thread.start()
    return thread, told


def test_whoever_asks_while_the_database_does_not_answer_gets_what_was_known(
    expired: None,
) -> None:
    from streamer_airflow.web.connections import Connections

    source = Source()
    connections = Connections(source)
    assert connections.ids() == ["read_1"]
    source.answers.clear()
    source.asked.clear()
    hanging, told = in_thread(connections.ids)
    assert source.asked.wait(WAIT_S)
    # In a thread, so that a lock that is held would fail this and not stop it.
    other, seen = in_thread(connections.ids)
    other.join(WAIT_S / 4)
    assert seen == [["read_1"]]
    source.answers.set()
    hanging.join(WAIT_S)
    assert told == [["read_2"]]


def test_those_who_ask_first_wait_for_one_answer() -> None:
    from streamer_airflow.web.connections import Connections

    source = Source()
    source.answers.clear()
    connections = Connections(source)
    asking = [in_thread(connections.ids) for _ in range(3)]
    assert source.asked.wait(WAIT_S)
    source.answers.set()
    for thread, _told in asking:
        thread.join(WAIT_S)
    assert [told for _thread, told in asking] == [[["read_1"]]] * 3
    assert source.count == 1


def test_an_error_is_told_and_the_next_one_asks_again(expired: None) -> None:
    from streamer_airflow.web.connections import Connections

    asked: list[int] = []

    def read() -> list[str]:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("no database")
        return ["shop"]

    connections = Connections(read)
    with pytest.raises(OSError, match="no database"):
        connections.ids()
    assert connections.ids() == ["shop"]
