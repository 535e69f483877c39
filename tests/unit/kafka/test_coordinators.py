"""Who waits for a group's coordinator gives up alone: librdkafka never may, since it ends the
process then. A client that has asked in vain is replaced."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamer.config import Config
from streamer.kafka import coordinators
from streamer.kafka.coordinators import REQUEST_S, Coordinators

Result = str | int | None  # a member, a code of an error, or no answer


class FakeClient:
    made: list[FakeClient]

    def __init__(self, _settings: dict[str, Any]) -> None:
        self.made.append(self)
        self.results: dict[str, Result] = {}
        self.timeouts_s: list[float] = []
        self.is_served = False

    def poll(self, _timeout: float) -> None:
        self.is_served = True

    def describe(self, groups: list[str], *, request_timeout: float) -> dict[str, Future[str]]:
        self.timeouts_s.append(request_timeout)
        answers: dict[str, Future[str]] = {group: Future() for group in groups}
        for group, answer in answers.items():
            result = self.results.get(group)
            if isinstance(result, str):
                answer.set_result(result)
            elif result is not None:
                answer.set_exception(KafkaException(KafkaError(result)))
        return answers


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Coordinators:
    monkeypatch.setattr(FakeClient, "made", [], raising=False)
    monkeypatch.setattr(coordinators, "AdminClient", FakeClient)
    return Coordinators(Config(application_id="shop"))


def ask(asked: Coordinators, results: dict[str, Result], wait_s: float = 0.05) -> dict[str, Any]:
    def request(client: Any) -> dict[str, Future[Any]]:
        client.results = results
        answers: dict[str, Future[Any]] = client.describe(list(results), request_timeout=REQUEST_S)
        return answers

    return asked.ask(request, _read, wait_s)


def _read(answers: Any) -> dict[str, Any]:
    return {group: answer.exception(0) or answer.result(0) for group, answer in answers.items()}


def test_who_waits_gives_up_all_at_once_and_others_are_heard(
    asked: Coordinators, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[int, float]] = []

    def wait(answers: Any, timeout: float) -> None:
        waited.append((len(list(answers)), timeout))

    monkeypatch.setattr(coordinators, "wait", wait)
    found = ask(asked, {"a": None, "b": "w1", "c": None, "d": None}, wait_s=7)
    assert waited == [(4, 7)]
    assert found["b"] == "w1"
    assert [type(found[group]) for group in "acd"] == [TimeoutError] * 3


def test_librdkafka_never_gives_up(asked: Coordinators) -> None:
    ask(asked, {"a": "w1"})
    assert FakeClient.made[0].timeouts_s == [3_600]


@pytest.mark.parametrize("trouble", [None, KafkaError.NOT_COORDINATOR, KafkaError._TIMED_OUT])
def test_a_client_that_asks_in_vain_is_let_go_of_and_has_told_what_it_heard(
    asked: Coordinators, trouble: Result
) -> None:
    ask(asked, {"a": "w1", "b": trouble})
    assert asked._client is None, "at once: an hour later librdkafka would give up by itself"
    assert FakeClient.made[0].is_served
    ask(asked, {"a": "w1"})
    assert len(FakeClient.made) == 2


@pytest.mark.parametrize(
    "answer", ["w1", KafkaError.GROUP_ID_NOT_FOUND, KafkaError.GROUP_AUTHORIZATION_FAILED]
)
def test_a_client_that_gets_an_answer_is_kept(asked: Coordinators, answer: Result) -> None:
    ask(asked, {"a": answer})
    ask(asked, {"a": answer})
    assert len(FakeClient.made) == 1


def test_who_waits_for_a_client_that_was_replaced_hears_it_still(asked: Coordinators) -> None:
    late: Future[str] = Future()
    read: Callable[[Any], str] = lambda answers: str(answers["a"].result(0))  # noqa: E731

    def while_another_asks(_client: Any) -> dict[str, Future[Any]]:
        ask(asked, {"b": None})
        ask(asked, {"b": "w2"})
        late.set_result("w1")
        return {"a": late}

    assert asked.ask(while_another_asks, read, 0.05) == "w1"
