"""An operation's id is made of the run, and is one that operations may have."""

from __future__ import annotations

import re

from streamer.operations.executor import _ID
from streamer_airflow.runs import Asked

RUN = "scheduled__2026-11-28T00:00:00+00:00"


def test_the_same_run_and_stage_have_the_same_operation() -> None:
    first = Asked("trim", "trim_changelogs", RUN, wanted={"stores": ["a"]})
    again = Asked("trim", "trim_changelogs", RUN, wanted={"stores": ["b"]})
    assert first.operation() == again.operation()


def test_any_other_has_another_one() -> None:
    asked = [
        Asked(kind, dag, run, stage)
        for kind in ("trim", "rebuild")
        for dag in ("a", "ab")
        for run in (RUN, RUN + "x", "b" + RUN)
        for stage in ("", "0_1", "0_11")
    ]
    names = {one.operation(number) for one in asked for number in (1, 2)}
    assert len(names) == 2 * len(asked)


def test_it_is_a_name_of_an_operation_whatever_the_run_is_called() -> None:
    for run in (RUN, "Ünïcode / run?", "x" * 250):
        name = Asked("rebuild", "D.A.G", run, "10_1199").operation(12)
        assert _ID.fullmatch(name)
        assert re.fullmatch(r"rebuild-[0-9a-f]{16}-12", name)
