from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from streamer.cli.main import main
from streamer.ids import TaskId
from tests.broker.test_a_trim_leaves_what_a_lost_disk_needs import planned, process, starts
from tests.broker.trims import Snapshots
from tests.broker.workers import PATIENCE_S, Application, Gate
from tests.thorough import thorough

TASK = TaskId(0, 0)


@thorough
def test_a_copy_that_begins_after_the_plan_has_it_refused_until_it_has_told_what_it_has(
    application: Callable[..., Application], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = application(
        "counts", outputs=("totals", "closed", "every"), partitions=1, standby_replicas=1
    )
    snapshots = Snapshots(counts)
    first = counts.worker("a", worker_id="wa")
    process(counts, first, range(1, 4))
    for _ in range(2):
        snapshots.make(TASK)
    found = planned(snapshots, capsys, lambda one: one["operation"] is not None)
    before = starts(counts)

    # It is given a copy, and stands still before it opens anything.
    gate = Gate(counts.directory / "open")
    second = counts.worker("b", worker_id="wb", failpoints=gate.at("standby.before_open"))
    second.wait_for("standby.before_open acts")
    apply = ["trim", "apply", found["operation"], *snapshots.options]
    assert main(apply) == 3
    said = capsys.readouterr().err
    assert "worker wb holds it at 0: it was given a copy of the task, and has not told" in said
    assert starts(counts) == before

    # The plan stands, and is carried out when nobody is in the way any more.
    gate.open()
    deadline = time.monotonic() + PATIENCE_S
    while main(apply) == 3:
        assert "worker wb" in capsys.readouterr().err
        assert time.monotonic() < deadline
        time.sleep(0.5)
    capsys.readouterr()
    assert all(start > before[place] for place, start in starts(counts).items())
    process(counts, first, range(4, 6))
    assert second.is_alive
    second.wait_for("the standby is at the end and follows")
