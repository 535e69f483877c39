"""What the administrator sets for all DAGs."""

from __future__ import annotations

import json

import pytest

from streamer_airflow.settings import Choices, choices, connections, has_schedules, heavy_queue


def test_without_any_there_is_one_connection_and_nothing_runs_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CONNECTIONS", "SCHEDULES", "HEAVY_QUEUE", "CHOICES"):
        monkeypatch.delenv(f"AIRFLOW__STREAMER__{name}", raising=False)
    assert connections() == ("streamer_default",)
    assert not has_schedules()
    assert heavy_queue() == ""
    assert choices("streamer_default") == Choices()


def test_several_connections_are_named_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__STREAMER__CONNECTIONS", " shop, billing,,shop ")
    assert connections() == ("shop", "billing")


def test_choices_are_those_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"shop": {"tasks": ["0_0"], "workers": ["w1"]}}
    monkeypatch.setenv("AIRFLOW__STREAMER__CHOICES", json.dumps(told))
    assert choices("shop") == Choices(tasks=("0_0",), workers=("w1",))
    assert choices("other") == Choices()


@pytest.mark.parametrize("text", ["{", '{"shop": 3}', '{"shop": {"planets": ["x"]}}'])
def test_what_is_no_list_of_choices_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW__STREAMER__CHOICES", text)
    with pytest.raises(ValueError, match="choices is not what"):
        choices("shop")
