"""What a completion deletes, what it leaves, and what is in its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from streamer import App
from streamer.control.operations import encode, operation_key
from streamer.control.orders import FORMAT, FORMER_KEY, FormerOrder, encode_order
from streamer.control.plans import check_plan
from streamer.errors import OperationRefusedError
from streamer.kafka.readers import Reader
from streamer.operations.completion.request import parts_of, read_request
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from tests.unit.operations.completion.rig import FORMER, Left
from tests.unit.operations.repartition.front import NAME, ORDERS
from tests.unit.operations.repartition.rig import INPUT, asked, counting, started

READER = Reader("audit", 0, ("app-cities-changelog",))


def begun_in_vain(left: Left, executor: Executor) -> str:
    """A completion whose first step has begun and has failed."""
    begun = executor.propose("completion", left.asked.plain()).id

    def fail() -> None:
        raise OperationRefusedError("not now")

    left.at_delete = fail
    assert executor.start(begun).state == "failed"
    return begun


def test_the_former_topics_and_the_former_state_go_and_nothing_else() -> None:
    left = Left()
    before = set(left.shop.broker.topics)
    assert before > FORMER
    record = left.completed()
    assert (record.state, record.trouble) == ("done", None)
    assert set(left.shop.broker.topics) == before - FORMER
    assert left.states == {"a": {"0_0": 7}, "b": {}}
    assert record.steps[0].said == "deleted: app-cities-changelog, app-cities-repartition"


def test_a_plan_names_what_goes_and_is_the_same_however_often_it_is_made() -> None:
    left = Left()
    asked = replace(left.asked, bytes=5, disk_bytes=150)
    plan = left.executor().plan("completion", asked.plain())
    check_plan(plan)
    assert [step.id for step in plan.steps] == ["topics", "disks"]
    assert (plan.no_return, plan.no_return_when) == ("topics", "begun")
    assert plan.cost.bytes == 155
    assert plan.seen["topics"] == dict.fromkeys(sorted(FORMER), 2)
    assert "the state of subtopology 1 in layout 1 is deleted for good" in plan.lost[0]
    assert left.executor().plan("completion", asked.plain()).id == plan.id


def test_of_several_layouts_that_were_left_all_go_or_one() -> None:
    left = Left()
    shop = left.shop
    back = asked({1: 2}, width=2, layout=shop.asked.after.layout, number="fold-2")
    shop.next(back)
    second = started(shop).id
    only = left.of(second)
    assert only.topics == ["app-cities-changelog.layout-2", "app-cities-repartition.layout-2"]
    assert only.left == {"1": (2,)}
    assert left.asked.left == {"1": (1, 2)}
    left.states["b"]["1_0.layout-2"] = 9
    assert left.completed(only).state == "done"
    assert left.states["b"] == {"1_1": 50}, "that of layout 1 was not named"
    assert set(shop.broker.topics) >= FORMER
    assert left.completed().state == "done"
    assert left.states["b"] == {}
    order = shop.orders()[FORMER_KEY]
    assert isinstance(order, FormerOrder)
    assert order.left == {"1": (1, 2)}
    assert "app-cities-changelog.layout-3" in shop.broker.topics


def test_who_reads_what_would_go_is_named_and_has_to_be_named() -> None:
    left = Left()
    left.readers = [READER]
    with pytest.raises(OperationRefusedError, match=r"group audit \(a position, no") as refused:
        left.completed()
    assert "--despite audit" in refused.value.hint
    told = left.of(despite=["audit"])
    assert (
        "audit read these topics, and lose them"
        in left.executor().plan("completion", told.plain()).lost
    )
    assert left.completed(told).state == "done"


def test_who_comes_after_the_plan_stops_it_before_anything_is_deleted() -> None:
    left = Left()
    executor = left.executor()
    planned = executor.propose("completion", left.asked.plain()).id
    left.readers = [READER]
    with pytest.raises(OperationRefusedError, match="group audit"):
        executor.start(planned)
    assert set(left.shop.broker.topics) >= FORMER
    # One that was begun before, and is gone on with by another process.
    left.readers = []
    begun = executor.propose("completion", left.asked.plain()).id

    def fail() -> None:
        raise OperationRefusedError("not now")

    left.at_delete = fail
    assert executor.start(begun).state == "failed"
    left.readers = [READER]
    assert "group audit" in executor.resume(begun).trouble.message  # type: ignore[union-attr]
    assert set(left.shop.broker.topics) >= FORMER
    left.readers, left.at_delete = [], lambda: None
    assert executor.resume(begun).state == "done"


def test_one_that_has_begun_is_named_to_who_wants_another() -> None:
    left = Left()
    executor = left.executor()
    begun = begun_in_vain(left, executor)
    with pytest.raises(OperationRefusedError, match=f"{begun} has begun to delete") as refused:
        left.of()
    assert f"operations resume {begun}" in refused.value.hint
    # One that was given up names nothing for good.
    assert executor.abandon(begun).state == "cancelled"
    left.at_delete = lambda: None
    assert left.completed().state == "done"


def test_a_topic_that_a_reader_makes_anew_is_told_and_goes_when_the_reader_has_gone() -> None:
    left = Left()
    left.makes_anew = {"app-cities-changelog"}
    failed = left.completed()
    assert failed.state == "failed"
    assert failed.trouble.message == "app-cities-changelog was made anew as soon as it was deleted"
    left.makes_anew = set()
    assert left.executor().resume(failed.id).state == "done"
    assert not set(left.shop.broker.topics) & FORMER


def test_a_worker_whose_disk_refuses_is_named_and_holds_nothing_up() -> None:
    left = Left()
    left.stubborn = {"b"}
    record = left.completed()
    assert record.state == "done"
    assert record.steps[1].said.startswith("worker b still has state of a former layout")


def test_what_was_left_before_stays_ordered() -> None:
    left = Left()
    order = FormerOrder(format=FORMAT, operation="x", left={"0": (1, 4), "1": (3,)})
    left.shop.broker.append(ORDERS, FORMER_KEY.encode(), encode_order(order, ORDERS.topic))
    assert left.completed().state == "done"
    standing = left.shop.orders()[FORMER_KEY]
    assert isinstance(standing, FormerOrder)
    assert standing.left == {"0": (1, 4), "1": (1, 3)}


def another_layout(left: Left) -> None:
    layout = left.shop.told.layout
    assert layout is not None
    left.shop.told.layout = layout.folded({0: 1})


def idle(left: Left) -> None:
    left.idle = {"1_0"}


def completed(left: Left) -> None:
    assert left.completed().state == "done"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (another_layout, "layout 3 holds by now, and this was planned for layout 2"),
        (idle, "task 1_0 of layout 2 does not run"),
        (completed, "is no repartition that is done and not completed"),
    ],
)
def test_what_is_in_the_way_is_named(change: Callable[[Left], None], told: str) -> None:
    left = Left()
    request = left.asked.plain()
    change(left)
    with pytest.raises(OperationRefusedError, match=told):
        left.executor().plan("completion", request)


def test_names_that_the_records_do_not_have_are_refused() -> None:
    left = Left()
    request = left.asked.plain()
    request["parts"][0]["topics"] += ("sales",)
    with pytest.raises(OperationRefusedError, match="name other topics than this"):
        left.executor().plan("completion", request)
    with pytest.raises(OperationRefusedError, match="parts are of other operations"):
        read_request({**request, "operations": ["another"]})
    with pytest.raises(OperationRefusedError, match="no request of a completion"):
        read_request({**request, "surprise": 1})


def test_what_is_in_use_is_nothing_that_was_left() -> None:
    left = Left()
    layout = left.shop.asked.before.layout
    record = left.books().operation(left.operation)
    with pytest.raises(OperationRefusedError, match="subtopology 1 has not left layout 1"):
        parts_of(record, layout, of=NAME)
    # A record that somebody else has written: the changelog of a part that was not moved.
    forged = left.shop.asked.plain()
    forged["feeds"][0]["stores"][0]["name"] = "totals"
    table = FakeTable(left.shop.broker, NAME)
    table.put(operation_key(record.id), encode(replace(record, request=forged)))
    assert "app-totals-changelog" in left.asked.topics
    with pytest.raises(OperationRefusedError, match="app-totals-changelog is one of the topics th"):
        left.executor().plan("completion", left.asked.plain())


def moved() -> App:
    """As `counting`, and the store of the cities is kept behind a topic of others by now."""
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int)
    sales.group_by_key().count(store="cities")
    by_city = sales.group_by(lambda _key, _value: "city", key=str, name="cities")
    by_city.count(store="towns")
    return app


def test_what_other_code_uses_by_now_stays_also_where_the_deletion_had_begun() -> None:
    left = Left()
    left.app = moved()
    told = "app-cities-changelog is one of the topics that app uses now"
    with pytest.raises(OperationRefusedError, match=told):
        left.executor().plan("completion", left.asked.plain())
    left.app = counting()
    executor = left.executor()
    begun = begun_in_vain(left, executor)
    left.app, left.at_delete = moved(), lambda: None
    assert told in executor.resume(begun).trouble.message  # type: ignore[union-attr]
    assert set(left.shop.broker.topics) >= FORMER


def test_a_worker_of_the_former_layout_does_not_stand_for_the_one_that_holds() -> None:
    left = Left()
    left.shop.asked_shape = left.shop.asked.shape
    with pytest.raises(OperationRefusedError, match="task 0_0 of layout 2 does not run"):
        left.completed()


def test_topics_of_another_application_are_not_named_by_anything_here() -> None:
    left = Left()
    request = left.asked.plain()
    with pytest.raises(OperationRefusedError, match="this is a request of other, not of app"):
        left.executor().plan("completion", {**request, "application": "other"})
    # A record that somebody else has written.
    record = left.books().operation(left.operation)
    forged = left.shop.asked.plain()
    for layout in ("before", "after"):
        forged[layout]["application"] = "other"
    for store in forged["feeds"][0]["stores"]:
        store |= {side: store[side].replace("app-", "other-") for side in ("source", "target")}
    table = FakeTable(left.shop.broker, NAME)
    table.put(operation_key(record.id), encode(replace(record, request=forged)))
    with pytest.raises(OperationRefusedError, match=r"is about other, and stands in the records"):
        left.of()


def test_what_is_not_done_is_not_completed() -> None:
    left = Left()
    with pytest.raises(OperationRefusedError, match="there is no operation"):
        left.of("unknown")
    assert left.completed().state == "done"
    with pytest.raises(OperationRefusedError, match="has completed it"):
        left.of(left.operation)
    with pytest.raises(OperationRefusedError, match="no repartition that is done and not comp"):
        left.of()
    assert left.books().uncompleted() == []


def test_of_one_that_was_given_up_what_its_switch_has_left_goes() -> None:
    left = Left()
    record = left.books().operation(left.operation)
    table = FakeTable(left.shop.broker, NAME)
    given_up = replace(record, state="cancelled", left=("copy", "switch"))
    table.put(operation_key(record.id), encode(given_up))
    # Others came to the same step, and no further: one before it, and one after it.
    former, present = left.shop.asked.before.layout, left.shop.asked.after.layout
    for number, tasks, layout in (("early", {0: 1, 1: 1}, former), ("late", {1: 2}, present)):
        other = asked(tasks, width=2, layout=layout, number=number)
        table.put(
            operation_key(number), encode(replace(given_up, id=number, request=other.plain()))
        )
        with pytest.raises(OperationRefusedError, match="it is repartition, cancelled"):
            left.of(number)
    assert left.asked.operations == (record.id,)
    before = set(left.shop.broker.topics)
    assert left.completed().state == "done"
    assert before - set(left.shop.broker.topics) == FORMER
    with pytest.raises(OperationRefusedError, match="no repartition that is done and not comp"):
        left.of()


def test_the_record_that_names_what_was_left_is_kept_until_it_is_completed() -> None:
    left = Left()
    month_ms = 31 * 24 * 3_600_000
    now_ms = left.shop.clock.now_ms() + month_ms
    key = f"operation/{left.operation}"
    assert key not in [each for each, _value in left.books().outdated(now_ms, keep=0)]
    assert left.completed().state == "done"
    assert key in [each for each, _value in left.books().outdated(now_ms, keep=0)]
