"""A name that the application does not have is refused with the nearest that it has."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, OperationRefusedError
from streamer_airflow.names import nearest, with_nearest_names
from streamer_airflow.settings import Choices

CONFIG = Config(application_id="shop")
KNOWN = Choices(
    stores=("totals", "closed"),
    tasks=("0_0", "0_1", "0_3"),
    workers=("eu-a", "eu-b"),
    zones=("az=eu-1", "az=eu-2"),
)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """How often the application was asked, which has the names above."""
    asked: list[Config] = []

    def choices_of(config: Config) -> Choices:
        asked.append(config)
        return KNOWN

    monkeypatch.setattr("streamer_airflow.names.choices_of", choices_of)
    return asked


def refused(wanted: dict[str, Any]) -> OperationRefusedError:
    with pytest.raises(OperationRefusedError) as caught, with_nearest_names(CONFIG, wanted):
        raise OperationRefusedError("there is none", hint="look there")
    return caught.value


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["0_33"], "0_33: is it 0_3?"),
        (["total"], "total: is it totals?"),
        (["totals", "Close"], "Close: is it closed?"),
        (["totals"], ""),
        (["nothing-like-it"], ""),
    ],
)
def test_the_nearest_is_one_that_is_alike(wanted: list[str], said: str) -> None:
    assert nearest(wanted, ["0_3", "totals", "closed"]) == said


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"tasks": ["0_33"], "stores": []}, "0_33: is it 0_3? look there"),
        ({"task": "0_33", "worker": "eu-bb"}, "0_33: is it 0_3? eu-bb: is it eu-b? look there"),
        ({"stores": ["total"]}, "total: is it totals? look there"),
        ({"zone": "az=eu2"}, "az=eu2: is it az=eu-2? look there"),
        ({"stores": ["totals"]}, "look there"),
    ],
)
def test_a_refusal_says_what_was_probably_meant(
    looks: list[Config], wanted: dict[str, Any], said: str
) -> None:
    error = refused(wanted)
    assert (error.message, error.hint) == ("there is none", said)
    assert looks == [CONFIG]


def test_nobody_is_asked_where_no_name_is_given_or_nothing_is_refused(looks: list[Config]) -> None:
    assert refused({"tasks": [], "worker": "", "zone": ""}).hint == "look there"
    with with_nearest_names(CONFIG, {"tasks": ["0_33"]}):
        pass
    assert looks == []


def test_a_refusal_stays_what_it_is_where_the_application_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def choices_of(_config: Config) -> Choices:
        raise KafkaUnavailableError("no answer")

    monkeypatch.setattr("streamer_airflow.names.choices_of", choices_of)
    assert refused({"tasks": ["0_33"]}).hint == "look there"
