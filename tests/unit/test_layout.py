"""Which task reads which partition, and which layouts cannot be."""

from __future__ import annotations

import random

import pytest

from streamer.errors import TopologyError
from streamer.ids import Layout, TaskId
from streamer.layout import ApplicationLayout, InputLayout, Partitioner, SubtopologyLayout
from streamer.topology.partitioner import partition_of

ONE, TWO = Layout(1), Layout(2)


def subtopology(
    tasks: int, *widths: int, since: Layout = TWO, by: Partitioner = "murmur2"
) -> SubtopologyLayout:
    inputs = {f"topic-{index}": InputLayout(width, by) for index, width in enumerate(widths)}
    return SubtopologyLayout(tasks, since, inputs)


def test_every_partition_has_one_task_and_tasks_share_them_evenly() -> None:
    one = subtopology(3, 12)
    read = [one.partitions_of(task, 12) for task in range(3)]
    assert [list(each) for each in read] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert all(one.task_of(partition) == task for task in range(3) for partition in read[task])


@pytest.mark.parametrize("by", ["murmur2", "consistent"])
@pytest.mark.parametrize("tasks", [1, 2, 3, 6])
def test_a_key_meets_itself_over_topics_of_different_widths(tasks: int, by: Partitioner) -> None:
    one = subtopology(tasks, 6, 12, 18, by=by)
    one.check(0)
    for number in range(500):
        key = random.Random(number).randbytes(8)
        assert len({one.task_of(partition_of(key, width, by)) for width in (6, 12, 18)}) == 1


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (subtopology(5, 12), r"5 does not divide the partitions of topic-0 \(12\)"),
        (subtopology(4, 12, 6), r"4 does not divide the partitions of topic-1 \(6\)"),
        (subtopology(24, 12), "its widest topic has 12 partitions"),
        (subtopology(0, 12), "cannot have 0 tasks"),
        (subtopology(3, 12, since=ONE), "layout 1 has a task for each"),
        (subtopology(3, 0), "topic-0 cannot have 0 partitions"),
        (
            SubtopologyLayout(3, TWO, {"a": InputLayout(12), "b": InputLayout(12, "consistent")}),
            "place keys differently: a murmur2, b consistent",
        ),
        (SubtopologyLayout(3, TWO, {"a": InputLayout(12)}, mode="routed"), "with 3 tasks over a"),
        (SubtopologyLayout(3, TWO, {"a": InputLayout(6)}, mode="grow"), "with 3 tasks over a"),
        (
            SubtopologyLayout(
                3, TWO, {"a": InputLayout(3), "b": InputLayout(6)}, "grow", keeps_state=False
            ),
            "3 tasks over a .3., b",
        ),
        (SubtopologyLayout(3, TWO, {"a": InputLayout(12)}, mode="odd"), "the mode 'odd'"),  # type: ignore[arg-type]
        (subtopology(3, 12, since=Layout(3)), "its state is of layout 3"),
    ],
)
def test_what_would_part_the_records_of_a_key_is_refused(
    found: SubtopologyLayout, said: str
) -> None:
    with pytest.raises(TopologyError, match=said):
        ApplicationLayout(TWO, {0: found}).check()


def test_the_numbers_that_would_do_are_named() -> None:
    with pytest.raises(TopologyError) as told:
        subtopology(5, 12, 18).check(0)
    assert told.value.hint == "possible: 1, 2, 3, 6"


def test_tasks_that_keep_nothing_need_not_divide_their_topics() -> None:
    SubtopologyLayout(5, TWO, {"a": InputLayout(12)}, keeps_state=False).check(0)
    one = SubtopologyLayout(1, TWO, {"a": InputLayout(12), "b": InputLayout(12, "consistent")})
    one.check(0)  # in one task all meet


def test_a_fold_changes_what_it_names_and_nothing_else() -> None:
    first = ApplicationLayout(
        ONE,
        {
            0: subtopology(12, 12, since=ONE),
            1: SubtopologyLayout(12, ONE, {"own": InputLayout(12, is_internal=True)}),
        },
    ).check()
    assert first.is_first
    second = first.folded({0: 4, 1: 12})
    assert (second.number, second.since(0), second.since(1)) == (2, 2, 1)
    assert len(second.tasks) == 16
    assert not second.is_first
    third = second.folded({1: 5})
    # Its own topic becomes as wide as it is, so any number will do.
    assert third.subtopologies[1].inputs["own"].partitions == 5
    assert (third.since(0), third.since(1)) == (2, 3)
    assert third.tasks[-1] == TaskId(1, 4)
    back = third.folded({0: 12})
    assert (back.since(0), back.task_count(0)) == (4, 12)
    with pytest.raises(TopologyError, match="no subtopology 7"):
        first.folded({7: 2})
    with pytest.raises(TopologyError, match="cannot have 0 tasks"):
        first.folded({0: 0})


def test_a_subtopology_that_is_not_known_is_as_it_was() -> None:
    assert ApplicationLayout().since(9) == 1
    assert ApplicationLayout().task_count(9) == 0
