"""A worker follows the record of the layout, and stops where another one holds."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamer import App
from streamer.clock import ManualClock
from streamer.cluster.layouts import Layouts
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.layouts import LAYOUT_KEY, encode_layout, layout_record
from streamer.errors import InternalTopicError, LayoutChangedError, TopologyChangedError
from streamer.ids import FIRST_LAYOUT, Layout, TopicPartition
from streamer.kafka.table import Row
from streamer.layout import ApplicationLayout
from streamer.topology.partitions import partitions
from streamer.topology.shape import shape_of
from streamer.worker.following import Following
from streamer.worker.layouts import check_record

PLACE = TopicPartition("shop.layout", 0)


def app() -> App:
    made = App("shop")
    made.stream("in", key=str, value=int).group_by_key().count(store="counts")
    return made


FIRST = partitions(app().topology(), {"in": 12}).layout
SECOND = FIRST.folded({0: 3})


def row(layout: ApplicationLayout, offset: int = 0, *, application: str = "shop") -> Row:
    record = layout_record(application, layout, operation="fold-1")
    return Row(PLACE, offset, LAYOUT_KEY, encode_layout(record))


def test_a_newer_layout_ends_the_worker_and_an_older_one_does_not() -> None:
    layouts = Layouts(Layout(2))
    layouts.hear(row(FIRST))  # the log is read from its begin
    layouts.hear(row(SECOND, 1))
    assert layouts.failure is None
    layouts.hear(row(SECOND.folded({0: 6}), 2))
    assert isinstance(layouts.failure, LayoutChangedError)
    assert str(layouts.failure) == (
        "layout 3 was recorded by operation fold-1; this worker runs layout 2"
    )


def test_the_first_layout_may_be_recorded_under_workers_that_run_it() -> None:
    layouts = Layouts(FIRST_LAYOUT)
    layouts.hear(row(FIRST))
    assert layouts.failure is None


def test_a_record_that_cannot_be_read_ends_the_worker() -> None:
    layouts = Layouts(FIRST_LAYOUT)
    layouts.hear(row(SECOND, application="till"))
    assert isinstance(layouts.failure, InternalTopicError)


def test_a_record_that_was_taken_out_is_told_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layouts = Layouts(Layout(2))
    layouts.hear(Row(PLACE, 1, LAYOUT_KEY, None))
    assert layouts.failure is None
    assert "somebody took the layout out" in caplog.text


def test_workers_of_two_layouts_have_two_shapes_and_the_first_has_that_of_no_record() -> None:
    topology = app().topology()
    config = Config(application_id="shop", bootstrap_servers="127.0.0.1:9")
    none, first, second = (
        Work.of(topology, (), config, layout=layout) for layout in (None, FIRST, SECOND)
    )
    assert none.shape == first.shape == shape_of(topology)
    assert second.shape.differs(first.shape.digest)
    assert "runs as 3 tasks of layout 2" in str(first.shape.refusal(second.shape.parts))
    assert (none.layout, second.layout) == (1, 2)


def test_a_worker_begins_anew_with_the_new_layout_and_waits_for_the_others() -> None:
    clock, stopping = ManualClock(), threading.Event()
    following = Following(clock, stopping)
    others = TopologyChangedError("the running workers have another topology")
    newer: list[bool] = []

    def is_newer() -> bool:
        return bool(newer)

    with pytest.raises(TopologyChangedError):
        following.begins_anew(others, is_newer)  # no layout has changed: it is what it says
    assert following.begins_anew(LayoutChangedError("layout 2 was recorded"), is_newer)
    stopping_soon = threading.Timer(0.05, stopping.set)
    stopping_soon.start()
    assert not following.begins_anew(others, is_newer)  # it waited, and was stopped meanwhile
    stopping_soon.join()
    clock.advance(121_000)
    with pytest.raises(TopologyChangedError):
        following.begins_anew(others, is_newer)
    # Refused before it has read the record itself.
    newer.append(True)
    assert not Following(clock, stopping).begins_anew(others, is_newer)


class Broker:
    def __init__(self, *topics: str) -> None:
        self._topics = dict.fromkeys(topics, 1)

    def topics(self) -> dict[str, int]:
        return self._topics


def test_a_lost_record_does_not_bring_the_state_of_layout_1_back() -> None:
    topology: Any = app().topology()
    check_record(
        topology, None, Broker("in", "shop-counts-changelog", "shop-two-x-changelog.layout-2")
    )
    later = Broker("shop-counts-changelog", "shop-counts-changelog.layout-2")
    check_record(topology, SECOND, later)
    with pytest.raises(InternalTopicError, match=r"shop-counts-changelog.layout-2 are of a later"):
        check_record(topology, None, later)
