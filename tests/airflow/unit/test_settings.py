"""What the administrator sets for all DAGs."""

from __future__ import annotations

import json

import pytest

from streamer.config.values import bytes_of
from streamer_airflow.limits import LIMITS, most
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


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("7", 7), ("2GiB", 2 << 30), (" 1.5 MiB ", 3 << 19)]
)
def test_limits_are_numbers_or_sizes(
    monkeypatch: pytest.MonkeyPatch, text: str, number: int
) -> None:
    monkeypatch.setenv("AIRFLOW__STREAMER__TRIM_BYTES_MAX", text)
    assert most("trim_bytes_max", "shop") == number


def test_a_connection_has_its_own_limit_above_or_below_that_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__STREAMER__REBALANCE_TASKS_MAX", "9")
    monkeypatch.setenv("AIRFLOW__STREAMER__REBALANCE_TASKS_MAX__SHOP", "900")
    assert [most("rebalance_tasks_max", each) for each in ("shop", "other")] == [900, 9]


def test_the_documented_defaults_of_limits_are_theirs() -> None:
    from streamer_airflow.provider_info import get_provider_info

    options = get_provider_info()["config"]["streamer"]["options"]
    stated = {name: bytes_of(options[name]["default"]) for name in LIMITS}
    assert stated == LIMITS


@pytest.mark.parametrize("text", ["much", "-1", "1e9", "5GiB"])
def test_a_limit_that_is_no_number_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW__STREAMER__REBALANCE_TASKS_MAX", text)
    with pytest.raises(ValueError, match=r"rebalance_tasks_max is .* must be a whole number"):
        most("rebalance_tasks_max", "shop")
