"""Who waits for a group's coordinator gives up alone: librdkafka never may, since it ends the
process then. A client that has asked in vain is replaced."""

from __future__ import annotations

import time
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
    def __init__(self, _settings: dict[str, Any]) -> None:
        self.results: dict[str, Result] = {}
        self.timeouts_s: list[float] = []

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


def test_who_waits_gives_up_all_at_once_and_others_are_heard(asked: Coordinators) -> None:
    began_s = time.monotonic()
    found = ask(asked, {"a": None, "b": "w1", "c": None, "d": None}, wait_s=0.2)
    assert 0.2 <= time.monotonic() - began_s < 0.6
    assert found["b"] == "w1"
    assert [type(found[group]) for group in "acd"] == [TimeoutError] * 3


@pytest.mark.parametrize("trouble", [None, KafkaError.NOT_COORDINATOR, KafkaError._TIMED_OUT])
def test_a_client_that_asks_in_vain_is_replaced_by_the_next_question(
    asked: Coordinators, trouble: Result
) -> None:
    ask(asked, {"a": "w1", "b": trouble})
    first = asked.client()
    assert asked.client() is first, "what it has heard is still to be told"
    ask(asked, {"a": "w1"})
    assert asked.client() is not first


@pytest.mark.parametrize(
    "answer", ["w1", KafkaError.GROUP_ID_NOT_FOUND, KafkaError.GROUP_AUTHORIZATION_FAILED]
)
def test_a_client_that_gets_an_answer_is_kept(asked: Coordinators, answer: Result) -> None:
    ask(asked, {"a": answer})
    first = asked.client()
    ask(asked, {"a": answer})
    assert asked.client() is first


def test_who_waits_for_a_client_that_was_replaced_hears_it_still(asked: Coordinators) -> None:
    late: Future[str] = Future()
    read: Callable[[Any], str] = lambda answers: str(answers["a"].result(0))  # noqa: E731

    def while_another_asks(_client: Any) -> dict[str, Future[Any]]:
        ask(asked, {"b": None})
        ask(asked, {"b": "w2"})
        late.set_result("w1")
        return {"a": late}

    assert asked.ask(while_another_asks, read, 0.05) == "w1"
