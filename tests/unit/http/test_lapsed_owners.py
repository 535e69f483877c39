"""An owner that may have been replaced: it is a copy from then on, and says since when."""

from __future__ import annotations

from tests.unit.http.copies import NOWHERE, TASK, Group, group, is_from

__all__ = ["group"]

LAPSED = {"is_lapsed": True, "age_ms": 9_000}


def test_it_answers_with_what_it_had_and_how_old_that_is(group: Group) -> None:
    del group.asked.owners[TASK]
    group.serve(group.asked, "standby", 0, **LAPSED)
    reply = group.ask()
    assert is_from(reply, "asked", 0)
    assert reply.json["age_ms"] == 9_000


def test_who_allows_no_lag_is_refused(group: Group) -> None:
    del group.asked.owners[TASK]
    group.serve(group.asked, "standby", 0, **LAPSED)
    reply = group.ask("?max_lag=0")
    assert reply.status == 503
    assert reply.json["error"] == "whether task 0_0 is still run here has not been known for 9 s"


def test_another_owner_goes_before_it(group: Group) -> None:
    group.serve(group.asked, "standby", 0, **LAPSED)
    assert is_from(group.ask(), "owner")
    group.asked.owners[TASK] = NOWHERE
    assert is_from(group.ask(), "asked", 0)


def test_it_answers_as_a_copy_to_a_worker_that_takes_it_for_the_owner(group: Group) -> None:
    group.serve(group.owner, "standby", 0, **LAPSED)
    assert is_from(group.ask(), "owner", 0)
    many = group.asked.post("/stores/totals", {"keys": ["ann"]})
    assert many.json["rows"][0]["value"] == "owner"
    assert many.json["standbys"] == {"0_0": 0}
    assert group.ask("?max_lag=0").status == 503


def test_a_range_names_it_among_the_copies(group: Group) -> None:
    del group.asked.owners[TASK]
    group.serve(group.asked, "standby", 0, **LAPSED)
    told = group.asked.get("/stores/totals").json
    assert told["standbys"] == {"0_0": 0}
    assert told["tasks"]["0_0"]["age_ms"] == 9_000
    assert group.asked.get("/stores/totals?max_lag=0").json["missing"][0]["state"] == "standby"
