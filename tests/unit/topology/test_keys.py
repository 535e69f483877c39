"""Keys whose type is told, and those of windows."""

from __future__ import annotations

from typing import Any

import pytest

from streamer import App, SessionWindows, TopologyError, TumblingWindows
from tests.unit.topology.test_given_stores import HOUR, grouped

REFUSED: dict[str, Any] = {
    "keys of windows as text": (
        lambda: grouped().windowed_by(TumblingWindows(HOUR)).count(store="s").to("o", key=str),
        r"the keys of windowed results are Windowed\(key, start_ms, end_ms\), not str",
    ),
    "keys of sessions as numbers in a repartition": (
        lambda: (
            grouped()
            .windowed_by(SessionWindows(HOUR))
            .count(store="s")
            .stream()
            .repartition("o", key=int)
        ),
        "the keys of windowed results are .*, not int",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_where_it_is_written(name: str) -> None:
    build, text = REFUSED[name]
    with pytest.raises(TopologyError, match=text):
        build()


def test_a_merge_of_other_keys_says_where_a_type_is_given() -> None:
    app = App("a")
    numbers = app.stream("numbers", key=int, value=int)
    merged = app.stream("texts", key=str, value=int).merge(numbers)
    with pytest.raises(TopologyError, match=r"the key type .* is not known") as caught:
        merged.group_by_key().count(store="s")
    assert "select_key(function, key=str)" in caught.value.hint
