"""Whatever was there before, and wherever processes die, an operation ends as a whole or not at
all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import failpoints
from streamer.errors import OperationRefusedError
from streamer.operations.lock import LEASE_MS
from tests.hurry import examples
from tests.unit.operations.shelf import Warehouse

POINTS = sorted(name for name in failpoints.NAMES if name.startswith("operations."))
BOXES = list("abcd")


class Died(BaseException):
    pass


@contextmanager
def dying(at: int) -> Iterator[None]:
    """Die at the hit of this number, of whatever failpoint."""
    hits = 0

    def hit() -> None:
        nonlocal hits
        hits += 1
        if hits == at:
            raise Died

    with ExitStack() as stack:
        for point in POINTS:
            stack.enter_context(failpoints.armed(point, hit))
        yield


@pytest.mark.slow
@settings(max_examples=examples(200))
@given(
    boxes=st.lists(st.sampled_from(BOXES), min_size=1, unique=True),
    there=st.sets(st.sampled_from(BOXES)),
    deaths=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=6),
    cancels=st.booleans(),
    when=st.sampled_from(["done", "begun"]),
)
def test_it_ends_as_a_whole_or_not_at_all(
    boxes: list[str],
    there: set[str],
    deaths: list[tuple[int, bool]],
    cancels: bool,
    when: str,
) -> None:
    warehouse = Warehouse()
    shelf = warehouse.shelf
    shelf.boxes = dict.fromkeys(there, "somebody")
    operation = warehouse.planned(*boxes, no_return_when=when)
    epochs = [0]
    for at, wants_to_cancel in [*deaths, (10_000, cancels)]:
        with suppress(Died, OperationRefusedError), dying(at):
            one = warehouse.executor()
            (one.cancel if wants_to_cancel else one.start)(operation)
        warehouse.clock.advance(2 * LEASE_MS)
        record = warehouse.executor().books().operation(operation)
        assert record.epoch >= epochs[-1]
        epochs.append(record.epoch)
        # Nobody has touched what was there before.
        assert all(shelf.boxes[box] == "somebody" for box in there)
    ended = warehouse.executor().start(operation)
    assert ended.state in ("done", "cancelled")
    mine = {box for box, whose in shelf.boxes.items() if whose == operation}
    if ended.state == "done":
        assert mine == set(boxes) - there
        assert shelf.labels() == [b"labelled"] * len(shelf.labels())
        assert shelf.labels()
    else:
        assert mine == set()
        assert shelf.brought == {}
        assert shelf.labels() == []
    lock = warehouse.executor().books().lock("application")
    assert lock is None or not lock.operation
