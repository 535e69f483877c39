"""Copies: asked for with max_lag, or in place of an owner that cannot answer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from streamer.errors import TaskCorruptedError
from streamer.http import forward, silence
from streamer.http.serving import Rows
from streamer.ids import TaskId
from streamer.store.rocks import TaskDatabase
from streamer.topology.app import App
from tests.unit.http.conftest import Reply, Start, Worker
from tests.unit.http.test_forwarding import silent

__all__ = ["silent"]

TASK = TaskId(0, 0)
NOWHERE = "127.0.0.1:9"


@dataclass
class Group:
    """The owner of the only task, a worker `far` that may keep a copy, and the one that is asked,
    which may keep one too. The value of every key is who answers."""

    asked: Worker
    owner: Worker
    far: Worker

    def keep(self, worker: Worker, lag: int | None, **more: Any) -> None:
        """Have a worker keep a copy, of which the one that is asked knows."""
        self.serve(worker, "standby", lag, **more)
        if worker is not self.asked and lag is not None:
            self.asked.copies.setdefault(TASK, []).append((worker.address, lag))

    def serve(self, worker: Worker, state: str, lag: int | None, **more: Any) -> None:
        if TASK not in worker.served:
            worker.open(0)
            name = next(name for name, each in vars(self).items() if each is worker)
            worker.put("totals", {b"ann": (1, name.encode())})
        worker.serve(TASK, worker.served[TASK].database, state=state, lag=lag, **more)

    def ask(self, query: str = "") -> Reply:
        return self.asked.get(f"/stores/totals/ann{query}")


@pytest.fixture
def group(start: Start) -> Group:
    app = App("spend")
    app.table("customers", key=str, value=str, store="totals")
    topology = app.topology()
    found = Group(start(topology), start(topology), start(topology))
    found.serve(found.owner, "running", 2)
    found.asked.owners[TASK] = found.owner.address
    return found


def is_from(reply: Reply, value: str, lag: int | None = None) -> bool:
    """Whether an answer is from this worker: from a copy with this lag, or from the owner."""
    assert reply.status == 200, reply.body
    row = reply.json
    if lag is None:
        assert "role" not in row
        assert "Streamer-Role" not in reply.headers
    else:
        assert (row["role"], row["lag_records"], row["task"]) == ("standby", lag, "0_0")
        assert reply.headers["Streamer-Role"] == "standby"
        assert reply.headers["Streamer-Lag"] == str(lag)
    return bool(row["value"] == value)


# -- who answers ---------------------------------------------------------------------------------


def test_a_copy_here_answers_at_once_when_the_client_takes_its_lag(group: Group) -> None:
    group.keep(group.asked, 7)
    group.asked.owners[TASK] = NOWHERE
    assert is_from(group.ask("?max_lag=7"), "asked", 7)
    assert is_from(group.ask("?max_lag=999999999999999999"), "asked", 7)


@pytest.mark.parametrize("lag", [8, None])
def test_a_copy_that_lacks_more_or_nobody_knows_how_much_leaves_it_to_the_owner(
    group: Group, lag: int | None
) -> None:
    group.keep(group.asked, lag)
    assert is_from(group.ask("?max_lag=7"), "owner")


def test_without_max_lag_the_owner_answers_whatever_copies_there_are(group: Group) -> None:
    group.keep(group.asked, 0)
    group.keep(group.far, 0)
    reply = group.ask()
    assert is_from(reply, "owner")
    assert reply.json["lag_records"] == 2


def test_max_lag_0_is_the_owner_alone_or_an_error(group: Group) -> None:
    group.keep(group.asked, 0)
    group.keep(group.far, 0)
    assert is_from(group.ask("?max_lag=0"), "owner")
    del group.asked.owners[TASK]
    reply = group.ask("?max_lag=0")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["error"] == "task 0_0 is a copy here, 0 records behind"
    assert reply.json["copies"] == [{"worker": group.far.address, "lag_records": 0}]


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "", "1000000000000000000", "%D9%A3"])
def test_a_max_lag_that_is_no_whole_number_is_400(group: Group, text: str) -> None:
    for reply in (
        group.ask(f"?max_lag={text}"),
        group.asked.get(f"/stores/totals?max_lag={text}"),
        group.asked.post(f"/stores/totals?max_lag={text}", {"keys": ["ann"]}),
    ):
        assert reply.status == 400
        assert "is not a number of records" in reply.json["error"]


def test_where_no_owner_is_known_a_copy_here_answers_with_its_lag(group: Group) -> None:
    group.keep(group.asked, 7)
    del group.asked.owners[TASK]
    assert is_from(group.ask(), "asked", 7)


def test_where_no_owner_is_known_the_copy_that_lacks_least_answers(group: Group) -> None:
    group.asked.copies[TASK] = [(NOWHERE, 90)]
    group.keep(group.far, 7)
    del group.asked.owners[TASK]
    assert is_from(group.ask(), "far", 7)
    assert is_from(group.ask("?max_lag=50"), "far", 7)


def test_a_copy_that_lacks_more_than_is_acceptable_does_not_answer_unless_it_is_asked_for(
    group: Group,
) -> None:
    group.asked.acceptable_lag = 6
    group.keep(group.far, 7)
    del group.asked.owners[TASK]
    reply = group.ask()
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["error"] == "nobody is known to run task 0_0"
    assert reply.json["copies"] == [{"worker": group.far.address, "lag_records": 7}]
    assert is_from(group.ask("?max_lag=7"), "far", 7)


def test_a_task_that_is_restored_is_answered_from_a_copy(group: Group) -> None:
    group.serve(group.owner, "restoring", 0)
    assert group.ask().json["error"] == "task 0_0 is restoring, with 0 records to go"
    group.keep(group.far, 7)
    assert is_from(group.ask(), "far", 7)


def test_a_worker_that_restores_what_it_was_given_lets_a_copy_answer(group: Group) -> None:
    group.serve(group.asked, "restoring", 0)
    group.keep(group.far, 7)
    assert is_from(group.ask(), "far", 7)


@pytest.mark.parametrize("query", ["", "?max_lag=3"])
def test_a_copy_that_was_just_promoted_answers_while_it_catches_up(
    group: Group, query: str
) -> None:
    group.serve(group.owner, "restoring", 0, copy_lag=3)
    group.keep(group.far, 0)
    assert is_from(group.ask(query), "owner", 3)
    assert is_from(group.owner.get(f"/stores/totals/ann{query}"), "owner", 3)
    assert group.owner.get("/stores/totals/ann?max_lag=0").status == 503


def test_the_next_copy_answers_where_one_has_fallen_behind_since_it_spoke(group: Group) -> None:
    late = group.owner
    group.serve(late, "standby", 20_000)
    group.asked.copies[TASK] = [(late.address, 0)]
    group.keep(group.far, 7)
    del group.asked.owners[TASK]
    assert is_from(group.ask(), "far", 7)


def test_a_copy_that_runs_meanwhile_answers_as_the_owner(group: Group) -> None:
    group.keep(group.far, 7)
    group.serve(group.far, "running", 0)
    del group.asked.owners[TASK]
    assert is_from(group.ask(), "far")


def test_an_owner_that_was_named_before_it_runs_the_task_answers_from_its_copy(
    group: Group,
) -> None:
    group.serve(group.owner, "standby", 4)
    assert group.ask().json["error"] == "task 0_0 is a copy here, 4 records behind"
    group.asked.copies[TASK] = [(group.owner.address, 4)]
    assert is_from(group.ask(), "owner", 4)


def test_a_former_owner_does_not_answer_from_its_copy_while_another_runs_the_task(
    group: Group,
) -> None:
    group.serve(group.owner, "standby", 0)
    group.keep(group.far, 7)
    group.serve(group.far, "running", 0)
    assert is_from(group.ask(), "far")


def test_what_is_wrong_everywhere_is_not_asked_for_elsewhere(group: Group) -> None:
    group.keep(group.far, 0)
    group.owner.put("totals", {b"ann": (1, b"\xff")})
    assert group.ask().status == 500
    assert group.asked.get("/stores/totals/nobody").status == 404
    assert "role" not in group.asked.get("/stores/totals/nobody").json


def test_an_absent_key_of_a_copy_is_404_and_says_that_it_is_one(group: Group) -> None:
    group.keep(group.asked, 7)
    reply = group.asked.get("/stores/totals/nobody?max_lag=9")
    assert (reply.status, reply.headers["Streamer-Role"]) == (404, "standby")
    assert reply.headers["Streamer-Lag"] == "7"
    told = {"task": "0_0", "stream_time_ms": 0, "lag_records": 7, "role": "standby"}
    assert told.items() <= reply.json.items()


def test_local_answers_from_the_copy_here_or_tells_the_owner(group: Group) -> None:
    group.keep(group.asked, 7)
    group.keep(group.far, 0)
    assert is_from(group.ask("?local=1&max_lag=7"), "asked", 7)
    for query in ("?local=1", "?local=1&max_lag=6"):
        reply = group.ask(query)
        assert (reply.status, reply.json["owner"]) == (421, group.owner.address)
    del group.asked.owners[TASK]
    assert is_from(group.ask("?local=1"), "asked", 7)
    assert group.ask("?local=1&max_lag=6").status == 503


# -- owners that do not answer -------------------------------------------------------------------


def test_an_owner_that_is_gone_is_asked_once_and_then_left_alone_for_a_while(
    group: Group, monkeypatch: Any
) -> None:
    group.keep(group.far, 7)
    assert is_from(group.ask(), "owner")
    assert group.owner.server is not None
    group.owner.server.close()
    assert is_from(group.ask(), "far", 7)
    asked = sent(group, monkeypatch)
    assert is_from(group.ask(), "far", 7)
    assert asked == [group.far.address]
    monkeypatch.setattr(silence, "REMEMBERED_SECONDS", 0.0)
    silences(group).failed(group.owner.address)
    assert is_from(group.ask(), "far", 7)
    assert asked[1:] == [group.owner.address, group.far.address]


def sent(group: Group, monkeypatch: Any) -> list[str]:
    """The addresses that the asked worker asks from here on."""
    assert group.asked.server is not None
    forwarder, addresses = group.asked.server._forwarder, list[str]()
    send = forwarder.send

    def noting(call: forward.Call) -> Any:
        addresses.append(call.address)
        return send(call)

    monkeypatch.setattr(forwarder, "send", noting)
    return addresses


def silences(group: Group) -> silence.Silence:
    assert group.asked.server is not None
    return group.asked.server._forwarder.silence


def test_an_owner_that_says_nothing_holds_up_the_first_request_briefly_and_no_other(
    group: Group, silent: str
) -> None:
    group.keep(group.far, 7)
    group.asked.owners[TASK] = silent
    began = time.monotonic()
    assert is_from(group.ask(), "far", 7)
    assert time.monotonic() - began < 1.6
    began = time.monotonic()
    for _ in range(5):
        assert is_from(group.ask(), "far", 7)
    assert time.monotonic() - began < 0.6


def test_dead_owners_and_dead_copies_together_hold_up_a_request_for_two_seconds_at_most(
    group: Group, silent: str
) -> None:
    group.asked.owners[TASK] = silent
    group.asked.copies[TASK] = [(NOWHERE, 0), (silent.replace("127.0.0.1", "localhost"), 1)]
    group.keep(group.far, 7)
    began = time.monotonic()
    assert is_from(group.ask(), "far", 7)
    assert time.monotonic() - began < 2.4


def test_an_owner_that_does_not_answer_is_waited_for_where_there_is_no_copy(
    group: Group, silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(forward, "TIMEOUT_SECONDS", 1.2)
    group.asked.owners[TASK] = silent
    for _ in range(2):
        began = time.monotonic()
        reply = group.ask()
        assert (reply.status, reply.json["owner"]) == (503, silent)
        assert time.monotonic() - began > 1.1


def test_an_owner_that_answers_again_is_asked_again(group: Group) -> None:
    group.keep(group.far, 7)
    silences(group).failed(group.owner.address)
    assert is_from(group.ask(), "far", 7)
    silences(group).answered(group.owner.address)
    assert is_from(group.ask(), "owner")


def test_a_page_that_takes_long_is_no_silence_but_no_connection_is(
    silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(forward, "HURRY_SECONDS", 0.1)
    monkeypatch.setattr(forward, "HURRY_PAGE_SECONDS", 0.2)
    forwarder = forward.Forwarder()
    call = forward.Call(silent, "GET", "/stores", is_last=False, is_page=True)
    assert forwarder.send(call).status == 503
    assert not forwarder.silence.is_silent(silent)
    assert forwarder.send(call._replace(is_page=False)).status == 503
    assert forwarder.silence.is_silent(silent)

    def unreachable(_connection: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr("http.client.HTTPConnection.connect", unreachable)
    answer = forwarder.send(call._replace(address="far.invalid:80"))
    assert b"does not answer: no connection within 0.1 s" in answer.body
    assert forwarder.silence.is_silent("far.invalid:80")
    forwarder.close()


def test_one_request_finds_out_whether_somebody_is_back() -> None:
    now = [100.0]
    silences = silence.Silence(clock=lambda: now[0])
    assert not silences.is_silent("a")
    silences.asked("a")
    assert not silences.is_silent("a")
    silences.failed("a")
    assert silences.is_silent("a")
    assert not silences.is_silent("b")
    now[0] += silence.REMEMBERED_SECONDS
    assert not silences.is_silent("a")
    silences.asked("a")
    assert silences.is_silent("a")
    silences.answered("a")
    assert not silences.is_silent("a")
    for number in range(100):
        silences.failed(str(number))
        now[0] += silence.REMEMBERED_SECONDS
    assert len(silences._until) < 5


# -- copies that end while they are read ---------------------------------------------------------


def close(worker: Worker) -> None:
    database = worker.served[TASK].database
    assert isinstance(database, TaskDatabase)
    database.close()


def test_a_copy_that_was_closed_is_passed_over(group: Group) -> None:
    group.keep(group.asked, 7)
    close(group.asked)
    assert is_from(group.ask("?max_lag=7"), "owner")
    assert group.asked.post("/stores/totals?max_lag=7", {"keys": ["ann"]}).values == ["owner"]
    group.keep(group.far, 8)
    del group.asked.owners[TASK]
    assert is_from(group.ask(), "far", 8)


def test_a_copy_elsewhere_that_was_closed_is_passed_over(group: Group) -> None:
    group.serve(group.owner, "standby", 0)
    close(group.owner)
    group.asked.copies[TASK] = [(group.owner.address, 0)]
    group.keep(group.far, 8)
    del group.asked.owners[TASK]
    assert is_from(group.ask(), "far", 8)
    reply = group.asked.post("/stores/totals", {"keys": ["ann"]})
    assert (reply.status, reply.values) == (200, ["far"])


class Damaged:
    """A database of which a block cannot be read."""

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]:
        raise TaskCorruptedError(f"a block of {store} is damaged")


def test_a_copy_elsewhere_that_is_damaged_is_passed_over(group: Group) -> None:
    damaged: Any = Damaged()
    group.owner.served[TASK].database.close()  # type: ignore[attr-defined]
    group.owner.serve(TASK, damaged, state="standby", lag=0)
    group.asked.copies[TASK] = [(group.owner.address, 0)]
    del group.asked.owners[TASK]
    reply = group.ask()
    assert (reply.status, reply.json["error"]) == (500, "a block of totals is damaged")
    group.keep(group.far, 8)
    assert is_from(group.ask(), "far", 8)
    assert group.asked.post("/stores/totals", {"keys": ["ann"]}).values == ["far"]


def test_a_task_that_is_closed_here_is_read_from_a_copy(group: Group) -> None:
    group.serve(group.asked, "running", 0)
    close(group.asked)
    assert "was closed" in group.ask().json["error"]
    group.keep(group.far, 8)
    assert is_from(group.ask(), "far", 8)


class Ending:
    """Rows of which the second portion cannot be read: the database is closed meanwhile."""

    def __init__(self, database: TaskDatabase) -> None:
        self._database = database
        self.get, self.scan = database.get, database.scan
        self.approximate_rows = database.approximate_rows
        self._is_first = True

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]:
        if not self._is_first:
            closing = threading.Thread(target=self._database.close)
            closing.start()
            closing.join(5)
        self._is_first = False
        return self._database.get_many(store, keys)


def test_nothing_of_a_copy_that_was_closed_halfway_is_kept(group: Group) -> None:
    names = [f"k{number}" for number in range(600)]
    group.keep(group.asked, 7)
    group.asked.put("totals", {name.encode(): (1, b"asked") for name in names})
    database = group.asked.served[TASK].database
    assert isinstance(database, TaskDatabase)
    ending: Rows = Ending(database)
    group.asked.serve(TASK, ending, state="standby", lag=7)
    reply = group.asked.post("/stores/totals?max_lag=7", {"keys": names})
    assert (reply.status, reply.json["rows"]) == (200, [None] * 600)
    assert "standbys" not in reply.json
