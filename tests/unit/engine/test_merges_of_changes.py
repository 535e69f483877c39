"""The changes of several stores in one stream: all of them, in an order that can be told."""

from __future__ import annotations

from typing import Any

import pytest

from streamer import App, Record, Stream
from streamer.errors import ProcessingError
from tests.unit.engine.rig import Rig


def changes(app: App, topic: str) -> Stream:
    counts = app.stream(topic, key=str, value=int).group_by_key().count(store=f"of-{topic}")
    return counts.stream()


def shown(rig: Rig, topic: str = "out") -> list[tuple[Any, Any]]:
    return [(key, value) for key, value, *_ in rig.sent(topic)]


def sent_to(app: App, numbers: dict[str, list[str]], **settings: Any) -> Rig:
    """One transaction with these keys of each topic, all before the commit."""
    rig = Rig(app, **settings)
    for topic, keys in numbers.items():
        rig.run(topic, [(key, 1, at, [("h", b"1")]) for at, key in enumerate(keys)])
    rig.commit()
    return rig


@pytest.mark.parametrize(("few", "many"), [("a", "b"), ("b", "a")])
def test_the_changes_of_one_store_come_after_those_of_the_one_before(few: str, many: str) -> None:
    app = App("merge")
    seen = []

    def note(record: Record, context: Any) -> None:
        seen.append((record.topic, record.offset, record.headers, context.stream_time_ms))
        context.forward(value=record.value)

    merged = changes(app, "a").merge(changes(app, "b"))
    merged.process(note, value=int).to("out")
    rig = sent_to(app, {few: ["x"], many: ["p", "q", "p", "x"]})
    by_topic = {few: [("x", 1)], many: [("p", 2), ("q", 1), ("x", 1)]}
    assert shown(rig) == by_topic["a"] + by_topic["b"]
    assert seen == [(None, None, [], 3)] * 4


def test_two_arms_of_one_store_keep_the_order_of_its_changes() -> None:
    app = App("merge")
    even, odd = changes(app, "a").branch(lambda _k, n: n % 2 == 0, lambda _k, _n: True)
    odd.merge(changes(app, "b")).merge(even).to("out")
    rig = sent_to(app, {"a": ["p", "q", "q", "r"], "b": ["x", "y"]})
    assert shown(rig) == [("p", 1), ("q", 2), ("r", 1), ("x", 1), ("y", 1)]


def test_two_sinks_of_one_topic_write_one_store_after_the_other() -> None:
    app = App("merge")
    one, other = changes(app, "a"), changes(app, "b")
    one.to("out")
    other.to("out")
    one.merge(other).to("both")
    rig = sent_to(app, {"a": ["p", "q"], "b": ["x"]})
    assert shown(rig) == shown(rig, "both") == [("p", 1), ("q", 1), ("x", 1)]


def test_a_change_that_fails_is_named_and_the_others_pass() -> None:
    def app() -> App:
        made = App("merge")
        merged = changes(made, "a").merge(changes(made, "b"))
        merged.map_values(lambda n: 6 // (n - 2), value=int).to("out")
        return made

    numbers = {"a": ["p"], "b": ["q", "r", "r", "s"]}
    with pytest.raises(ProcessingError, match="ZeroDivisionError") as caught:
        sent_to(app(), numbers)
    assert caught.value.key == b"r"
    rig = sent_to(app(), numbers, processing_error="skip")
    assert shown(rig) == [("p", -6), ("q", -6), ("s", -6)]


def test_a_dead_letter_of_a_change_has_its_key_and_its_value() -> None:
    app = App("merge")
    even, odd = changes(app, "a").branch(lambda _k, n: n % 2 == 0, lambda _k, _n: True)
    odd.merge(even).map_values(lambda n: 6 // (n - 2), value=int).to("out")
    rig = sent_to(
        app, {"a": ["p", "q", "q"]}, processing_error="dead_letter", dead_letter_topic="dead"
    )
    assert shown(rig) == [("p", -6)]
    letters = [record[:2] for topic, record, _ in rig.output.committed if topic == "dead"]
    assert letters == [(b"q", b"2")]
