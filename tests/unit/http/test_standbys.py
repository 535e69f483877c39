"""Copies: asked for with max_lag, or in place of an owner that cannot answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamer.errors import TaskCorruptedError
from streamer.http import queries
from streamer.http.serving import Rows
from streamer.store.rocks import TaskDatabase
from tests.unit.http.conftest import Worker
from tests.unit.http.copies import NOWHERE, TASK, Group, group, is_from

__all__ = ["group"]

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


@pytest.mark.parametrize("is_alone", [True, False])
def test_an_exchange_of_roles_is_waited_for(
    group: Group, monkeypatch: pytest.MonkeyPatch, is_alone: bool
) -> None:
    """The copy is closed, to be run, and the former owner has become a copy."""
    group.asked.keeps_copies = True
    group.keep(group.far, 0)
    far = group.far.served.pop(TASK)
    group.serve(group.owner, "standby", 3)
    assert group.ask().status == 503
    monkeypatch.setattr(queries, "AGAIN_SECONDS_MAX", 20.0)
    later = threading.Timer(
        0.2, lambda: group.far.serve(TASK, far.database, state="running", lag=0)
    )
    later.start()
    if is_alone:
        assert is_from(group.ask(), "far")
    else:
        reply = group.asked.post("/stores/totals", {"keys": ["ann"]})
        assert [row["value"] for row in reply.json["rows"]] == ["far"]
    later.join()


def test_a_task_that_nobody_is_known_to_have_is_waited_for_where_copies_are_kept(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former owner has let go, and whoever opens its copy does not say yet that it has it."""
    owner = group.asked.owners.pop(TASK)
    monkeypatch.setattr(queries, "AGAIN_SECONDS_MAX", 20.0)
    # Without copies only another worker's start would help, and that takes longer.
    assert group.ask().status == 503
    group.asked.keeps_copies = True
    assert group.ask("?max_lag=0").status == 503
    later = threading.Timer(0.2, lambda: group.asked.owners.update({TASK: owner}))
    later.start()
    assert is_from(group.ask(), "owner")
    later.join()


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
            closing.join(120)
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
