"""Who starts it on a terminal is asked for what nobody has said."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from demo.airflow import __main__ as program
from streamer.cli.options import application
from streamer.errors import ConfigError

Ask = Callable[..., tuple[list[str], object]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The questions that were asked, and the configuration that came of the answers."""
    for name in ("STREAMER_APP", "STREAMER_BOOTSTRAP_SERVERS", "STREAMER_SNAPSHOT_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)

    def asked(*answers: str, given: tuple[str, ...] = (), terminal: bool = True) -> object:
        questions: list[str] = []
        left = iter(answers)

        def answer(question: str) -> str:
            questions.append(question)
            return next(left)

        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
        arguments = program._parser().parse_args(given)
        program._ask(arguments)
        return questions, application(arguments)

    return asked  # type: ignore[misc]


def test_all_is_asked_where_nothing_was_said(ask: Ask) -> None:
    questions, config = ask("", "shop", "k1:9092", "s3://snapshots/shop")
    assert len(questions) == 4, "an empty answer is no application"
    assert config.application_id == "shop"  # type: ignore[attr-defined]
    assert config.bootstrap_servers == "k1:9092"  # type: ignore[attr-defined]
    assert config.snapshot_repository == "s3://snapshots/shop"  # type: ignore[attr-defined]


def test_an_empty_answer_takes_what_is_offered(ask: Ask) -> None:
    _questions, config = ask("shop", "", "")
    assert config.bootstrap_servers == "127.0.0.1:9092"  # type: ignore[attr-defined]
    assert config.snapshot_repository == ""  # type: ignore[attr-defined]


def test_nothing_is_asked_that_was_said(ask: Ask) -> None:
    questions, config = ask(given=("--app", "shop", "--bootstrap-servers", "k1:9092"))
    assert questions == []
    assert config.application_id == "shop"  # type: ignore[attr-defined]


def test_without_a_terminal_what_is_missing_is_an_error(ask: Ask) -> None:
    with pytest.raises(ConfigError, match="which application"):
        ask(terminal=False)
