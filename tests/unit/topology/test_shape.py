"""The shape of a topology changes with what moves state and input between tasks, and not else."""

from __future__ import annotations

from streamer import App
from streamer.topology.shape import Shape, shape_of


def counted(
    *topics: str, store: str = "counts-", function: object = None, re_key: str = ""
) -> Shape:
    app = App("shop")
    for topic in topics:
        stream = app.stream(topic, key=str, value=str)
        if function:
            stream = stream.filter(function)  # type: ignore[arg-type]
        if re_key:
            stream = stream.repartition(f"{re_key}-{topic}")
        stream.group_by_key().count(store=f"{store}{topic}").to(f"out-{topic}")
    return shape_of(app.topology())


def test_it_tells_inputs_stores_and_internal_topics_in_their_order() -> None:
    assert counted("a", "b").parts == ("reads a; keeps counts-a", "reads b; keeps counts-b")
    assert counted("a", re_key="by").parts == (
        "reads a; re-keys to by-a",
        "reads by-a (internal); keeps counts-a",
    )


def test_what_moves_state_or_input_is_another_shape() -> None:
    shapes = [
        counted("a", "b"),
        counted("b", "a"),
        counted("a"),
        counted("a", "b", store="sums-"),
        counted("a", "b", re_key="by"),
    ]
    assert len({shape.digest for shape in shapes}) == len(shapes)
    assert all(
        one.differs(other.digest) is (one is not other) for one in shapes for other in shapes
    )


def test_functions_are_not_part_of_it() -> None:
    plain = counted("a", "b", function=lambda key, value: True)
    assert plain == counted("a", "b", function=lambda key, value: value != "x")
    assert plain == counted("a", "b")


def test_the_digest_is_the_same_in_every_release() -> None:
    assert Shape(("reads a", "reads b")).digest == "e4142ed1d06f80cf"


def test_an_unknown_shape_differs_from_none() -> None:
    assert Shape().digest == ""
    assert not Shape().differs("something")
    assert not counted("a").differs("")
