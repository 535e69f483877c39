"""Choices of forms are asked for by another process; that it fails keeps nobody from starting."""

from __future__ import annotations

import subprocess

import pytest

from demo.airflow import choosing
from streamer.config import Config

CONFIG = Config(application_id="shop", bootstrap_servers="127.0.0.1:9")


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (subprocess.TimeoutExpired("python", 90), "no answer within"),
        (
            subprocess.CompletedProcess("", 1, "", "log\nstreamer: nobody answers\nhint: look"),
            "streamer: nobody answers",
        ),
        (subprocess.CompletedProcess("", 1, "", ""), "no reason is told"),
    ],
)
def test_what_keeps_them_away_is_told(
    outcome: subprocess.CompletedProcess[str] | Exception,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*_given: object, **_more: object) -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(choosing.subprocess, "run", run)
    assert choosing.choices(CONFIG) == "{}"
    assert told in capsys.readouterr().out


def test_lines_of_the_log_before_them_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess("", 0, 'a warning\n{"streamer_default": {}}\n', "")
    monkeypatch.setattr(choosing.subprocess, "run", lambda *_given, **_more: done)
    assert choosing.choices(CONFIG) == '{"streamer_default": {}}'
