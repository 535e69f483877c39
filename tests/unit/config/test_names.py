from __future__ import annotations

import re

import pytest

from streamer.config import names, settings
from streamer.config.names import advice, nearest

KNOWN = [setting.name for setting in settings()]


def test_advice_only_speaks_of_settings_that_exist() -> None:
    advised = 0
    for text in (*names._ELSEWHERE.values(), *names._PREFIXES.values()):
        for name in re.findall(r"\bset ([a-z_]+)", text):
            assert name in KNOWN, text
            advised += 1
    assert advised > 10


def test_what_streams_calls_otherwise_is_not_one_of_our_names() -> None:
    ours = {name.replace("_", ".") for name in KNOWN}
    assert not ours & (set(names._ELSEWHERE) | names._WITHOUT_COUNTERPART)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("state.dir", "the name is state_dir"),
        ("State-Dir", "the name is state_dir"),
        ("statedir", "did you mean state_dir?"),
        ("topology.optimization", "has no counterpart"),
        ("topology_optimization", "has no counterpart"),
        ("max_task_idle_ms", "set task_idle_ms"),
        ("main.consumer.fetch.min.bytes", "kafka={'consumer.fetch.min.bytes': ...}"),
        ("client.tag.zone", "zone"),
    ],
)
def test_other_spellings_lead_to_ours(name: str, said: str) -> None:
    assert said in advice(name, KNOWN)


def test_nothing_is_near_to_everything() -> None:
    assert nearest("xyzzy", KNOWN) is None
    assert advice("xyzzy", KNOWN) == ""
