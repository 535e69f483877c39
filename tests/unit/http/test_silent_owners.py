"""Owners and copies that do not answer: waited for briefly, once, and then left alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streamer.http import forward, silence
from tests.unit.http.copies import NOWHERE, TASK, Group, group, is_from
from tests.unit.http.test_forwarding import silent

__all__ = ["group", "silent"]


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


@pytest.mark.slow
def test_an_owner_that_says_nothing_holds_up_the_first_request_briefly_and_no_other(
    group: Group, silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(forward, "TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(silence, "REMEMBERED_SECONDS", 60.0)
    group.keep(group.far, 7)
    group.asked.owners[TASK] = silent
    began = time.monotonic()
    assert is_from(group.ask(), "far", 7)
    assert time.monotonic() - began < 20
    asked = sent(group, monkeypatch)
    for _ in range(5):
        assert is_from(group.ask(), "far", 7)
    assert asked == [group.far.address] * 5


@pytest.mark.slow
def test_dead_owners_and_dead_copies_together_hold_up_a_request_briefly(
    group: Group, silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(forward, "TIMEOUT_SECONDS", 60.0)
    group.asked.owners[TASK] = silent
    group.asked.copies[TASK] = [(NOWHERE, 0), (silent.replace("127.0.0.1", "localhost"), 1)]
    group.keep(group.far, 7)
    began = time.monotonic()
    assert is_from(group.ask(), "far", 7)
    assert time.monotonic() - began < 20


@pytest.mark.slow
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
