"""Whether a repartition can be reverted, as it is told at every time of its life."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.errors import OperationRefusedError, PauseError
from streamer.ids import Layout, TopicPartition
from streamer.operations.books import Books
from streamer.operations.repartition.request import ask, read_request
from streamer.operations.repartition.way_back import WayBack, trimmed, way_back
from tests.unit.operations.repartition.rig import Shop, asked, final, planned, started
from tests.unit.overview.records import operation


def told(shop: Shop, name: str) -> WayBack:
    books = shop.executor().books()
    layout = shop.told.layout
    return way_back(books.operation(name), books, Layout(1) if layout is None else layout.number)


def test_it_is_possible_from_its_end_until_something_comes_after_it() -> None:
    shop = Shop()
    shop.refusal = PauseError("nobody answers")
    executor = shop.executor()
    name = executor.propose("repartition", shop.asked.plain()).id
    assert told(shop, name).why_not == "it has not begun"
    assert executor.start(name).state == "failed"
    unfinished = told(shop, name)
    assert unfinished.why_not == "it is not finished"
    assert f"streamer repartition cancel {name}" in unfinished.hint
    shop.refusal = None
    assert executor.resume(name).state == "done"
    assert told(shop, name) == WayBack(name, {0: 4, 1: 4}, modes={0: "fold", 1: "fold"})
    layout = shop.told.layout
    assert layout is not None
    shop.told.layout = layout.folded({0: 1})
    later = told(shop, name)
    assert later.why_not == "layout 3 was recorded after it"
    assert later.hint.endswith("streamer repartition plan 0=4 1=4")


def test_one_that_was_cancelled_or_completed_is_not_reverted() -> None:
    shop = Shop()
    record = started(shop)
    books = shop.executor().books()
    cancelled = replace(record, state="cancelled")
    assert way_back(cancelled, books, Layout(2)).why_not == "it was cancelled"
    done = operation("completion-1", kind="completion", state="done")
    completion = replace(done, request={"operations": [record.id]})
    completed = Books({**books.operations, "completion-1": completion})
    back = way_back(record, completed, Layout(2))
    assert back.why_not == "completion-1 has completed it"
    assert back.hint.endswith("streamer repartition plan 0=4 1=4")
    given_up = Books({"completion-1": replace(completion, state="cancelled")})
    assert not way_back(record, given_up, Layout(2)).why_not
    with pytest.raises(OperationRefusedError, match="completion-1 is no repartition: completion"):
        way_back(completion, books, Layout(2))


def test_what_the_topology_would_refuse_is_said_before_anybody_goes() -> None:
    alone = planned(final(), 400).layout.folded({0: 1})
    one = ask(final().topology(), alone, {0: 400}, number="fold-1")
    assert "would be made of 400, and 1 of its stores pass on final results" in one.one_way
    assert asked({0: 2}).one_way == ""
    shop = Shop()
    record = started(shop)
    request = replace(read_request(record.request), one_way=one.one_way).plain()
    back = way_back(replace(record, request=request), shop.executor().books(), Layout(2))
    assert back.why_not == one.one_way


def test_changelogs_that_were_trimmed_are_named() -> None:
    one, other = TopicPartition("totals", 0), TopicPartition("totals", 1)
    assert trimmed({one: 0, other: 0}) == ""
    assert trimmed({one: 0, other: 7}).endswith("copied from: totals/1 begins at 7")
    assert trimmed({one: 0, other: 7}, {one: 0, other: 7}) == "", "a snapshot has what was before"
    assert trimmed({one: 0, other: 7}, {other: 6}) != ""


def test_a_revert_gives_the_former_numbers_and_loses_nothing() -> None:
    shop = Shop()
    record = started(shop)
    back = told(shop, record.id)
    asked_back = replace(
        asked(back.tasks, layout=shop.asked.after.layout, number="fold-2"), reverts=record.id
    )
    shop.next(asked_back)
    reverted = started(shop)
    assert reverted.state == "done"
    assert shop.is_copied()
    assert shop.told.layout is not None
    assert [shop.told.layout.task_count(number) for number in (0, 1)] == [4, 4]
    assert told(shop, record.id).why_not == "layout 3 was recorded after it"
    assert told(shop, reverted.id).tasks == {0: 2, 1: 2}, "a revert is reverted as well"
