"""A plan in Markdown: what it costs, what cannot be undone, and nothing that somebody named."""

from __future__ import annotations

from msgspec.structs import replace

from streamer.control.requests import MoveRecord, ProposalRecord
from streamer_airflow.body import last_seconds, of_operation, of_proposal, of_step
from tests.unit.operations.shelf import Warehouse


def test_a_name_cannot_break_the_table(warehouse: Warehouse) -> None:
    name = warehouse.planned("a")
    record = warehouse.executor().books().operation(name)
    body = of_operation(record, application="a|b[x](http://evil)<script>")
    assert body.splitlines()[0] == "### shelve of a\\|b\\[x](http://evil)&lt;script>"


def test_what_is_taken_back_is_named_by_both_questions(warehouse: Warehouse) -> None:
    name = warehouse.planned("a")
    record = warehouse.executor().books().operation(name)
    back = replace(record, request={**record.request, "reverts": "repartition-1"})
    step = back.plan.steps[0].id
    for body in (of_operation(back, application="app"), of_step(back, step, application="app")):
        assert "| Takes back | operation `repartition-1` |" in body
    assert "Takes back" not in of_operation(record, application="app")


def test_the_last_one_tells_how_long_it_takes(warehouse: Warehouse) -> None:
    books = warehouse.executor().books()
    assert last_seconds(books, "shelve") == 0
    name = warehouse.planned("a")
    warehouse.shelf.inside = lambda _box: warehouse.clock.advance(90_000)
    warehouse.executor().start(name)
    books = warehouse.executor().books()
    assert last_seconds(books, "shelve") == 90
    assert last_seconds(books, "trim") == 0
    body = of_operation(books.operation(name), application="app", seconds=90)
    assert "the last one took 1 min 30 s" in body


def test_moves_are_told_with_what_they_mend() -> None:
    moves = tuple(
        MoveRecord(task=f"0_{number}", kind="active", source="a", target="b", bytes=1 << 20)
        for number in range(30)
    )
    proposal = ProposalRecord(
        id="3f9a01c2d4e5",
        after={"0_1": ("b",)},
        moves=moves,
        moved_bytes=30 << 20,
        spread_before={"bytes": 60},
        spread_after={"bytes": 5},
    )
    body = of_proposal(proposal, ["the fullest worker is full"], application="app")
    assert "- the fullest worker is full" in body
    assert "| Bytes that are moved | 30.0 MiB |" in body
    assert "| Fullest worker, above its share of bytes | 60 % to 5 % |" in body
    assert "and more: 30 moves are told" in body
    assert "streamer rebalance apply 3f9a01c2d4e5" in body
