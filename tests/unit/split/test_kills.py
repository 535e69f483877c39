"""Killed at every failpoint, a split and a merge come to the same end as without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.errors import OperationRefusedError
from streamer.failpoints import InjectedError
from streamer.ids import TaskId
from streamer.split.homes import Homes
from streamer.split.merge import merge_target
from streamer.split.sealed import held
from streamer.split.unit import begin, load_unit, split_unit
from tests.unit.split.rig import Entry, contents, files, fill, move, write

BEFORE, AFTER = Homes(2, 2), Homes(3, 3)
STEP = move(BEFORE, AFTER)
ENTRIES = [
    Entry(store, b"key-%03d" % number, number, b"x" * 50, start_ms=number)
    for number in range(120)
    for store in ("plain", "ttl", "windows", "sessions")
]

# Each further on than the last: what one process has finished, the next does not make again.
POINTS = [
    "split.after_block=error@1",
    "split.after_family=error@3",
    "split.before_record=error",
    "split.before_rename=error",
    "split.after_rename=error",
    "split.after_family=error@2",
    "merge.after_family=error@1",
    "merge.before_record=error",
    "merge.before_rename=error",
    "merge.after_rename=error",
    "merge.after_family=error@2",
]
KILLED = [
    "split.after_family=kill@3",
    "split.before_rename=kill",
    "merge.after_family=kill@2",
    "merge.before_rename=kill",
]


def work(root: Path) -> None:
    """All of it, from wherever it stands."""
    for task in (0, 1):
        split_unit(STEP, TaskId(0, task), root / "a" / f"0_{task}", directory=root / "units")
    for task in (0, 1, 2):
        merge_target(
            STEP, TaskId(0, task), units=root / "units", database=root / "databases" / f"0_{task}"
        )


def killed(root: Path, failpoint: str) -> int:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from tests.unit.split.test_kills import work;"
            " work(pathlib.Path(sys.argv[1]))",
            str(root),
        ],
        env={**os.environ, "STREAMER_FAILPOINTS": failpoint, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def check(root: Path, whole: Path) -> None:
    """As what was made without a stop; nothing else is left."""
    # Sorted files carry the session that wrote them, so not their bytes are compared.
    assert files(root / "units").keys() == files(whole / "units").keys()
    for task in (0, 1):
        one, other = (load_unit(place / "units", TaskId(0, task)) for place in (root, whole))
        assert one is not None
        assert other is not None
        assert [part.totals for part in one.parts] == [part.totals for part in other.parts]
    for task in range(3):
        name = f"databases/0_{task}"
        assert contents(root / name) == contents(whole / name)
    names = [{path.name for path in (place / "databases").iterdir()} for place in (root, whole)]
    assert names[0] == names[1]


@pytest.mark.slow
def test_a_stop_anywhere_and_a_resume_are_as_if_nothing_had_been(tmp_path: Path) -> None:
    sources = fill(tmp_path / "cut" / "a", BEFORE, ENTRIES)
    shutil.copytree(tmp_path / "cut" / "a", tmp_path / "whole" / "a")
    before = {task: contents(path) for task, path in sources.items()}
    for point in POINTS:
        name, _, action = point.partition("=")
        with failpoints.armed(name, action), pytest.raises(InjectedError):
            work(tmp_path / "cut")
    work(tmp_path / "cut")
    work(tmp_path / "whole")
    check(tmp_path / "cut", tmp_path / "whole")
    assert {task: contents(path) for task, path in sources.items()} == before


@pytest.mark.slow
def test_so_is_a_kill(tmp_path: Path) -> None:
    fill(tmp_path / "killed" / "a", BEFORE, ENTRIES)
    shutil.copytree(tmp_path / "killed" / "a", tmp_path / "whole" / "a")
    for point in KILLED:
        assert killed(tmp_path / "killed", point) == -9, point
    work(tmp_path / "killed")
    work(tmp_path / "whole")
    check(tmp_path / "killed", tmp_path / "whole")


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    sources = fill(tmp_path / "a", BEFORE, ENTRIES)
    units, database = tmp_path / "units", tmp_path / "databases" / "0_0"
    records = [
        split_unit(STEP, TaskId(0, task), path, directory=units) for task, path in sources.items()
    ]
    made = merge_target(STEP, TaskId(0, 0), units=units, database=database)
    after = files(tmp_path)
    rows: list[int] = []
    for task, path in sources.items():
        again = split_unit(STEP, TaskId(0, task), path, directory=units, on_rows=rows.append)
        assert again == records[task]
    assert merge_target(STEP, TaskId(0, 0), units=units, database=database) == made
    assert not rows
    assert files(tmp_path) == after


def test_a_split_that_is_told_to_stop_leaves_nothing_that_counts(tmp_path: Path) -> None:
    source = write(tmp_path / "0_0", ENTRIES)
    step = move(Homes(1, 1), AFTER)

    def stop(_rows: int) -> None:
        raise TimeoutError("no time left")

    with pytest.raises(TimeoutError):
        split_unit(step, TaskId(0, 0), source, directory=tmp_path / "units", on_rows=stop)
    assert load_unit(tmp_path / "units", TaskId(0, 0)) is None
    record = split_unit(step, TaskId(0, 0), source, directory=tmp_path / "units")
    assert record.rows > len(ENTRIES)
    assert not (tmp_path / "units" / "0_0.part").exists()


@pytest.mark.parametrize(
    "left", [["begun.json.part"], ["begun.json"], ["begun.json", "to-1/x.sst"]]
)
def test_a_kill_while_what_was_left_is_removed(tmp_path: Path, left: list[str]) -> None:
    """What says whose it is comes first and goes last."""
    source = write(tmp_path / "0_0", ENTRIES[:8])
    step = move(Homes(1, 1), AFTER)
    units = tmp_path / "units"
    part = begin(step, units / "0_0.part")
    begun = (part / "begun.json").read_bytes()
    (part / "begun.json").unlink()
    for name in left:
        (part / name).parent.mkdir(exist_ok=True)
        (part / name).write_bytes(begun)
    split_unit(step, TaskId(0, 0), source, directory=units)
    assert not part.exists()


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "0_0", ENTRIES)
    step = move(Homes(1, 1), AFTER)
    units = tmp_path / "units"
    with (
        held(units / "0_0.lock"),
        pytest.raises(OperationRefusedError, match=rf"0_0 is being made by process {os.getpid()}"),
    ):
        split_unit(step, TaskId(0, 0), source, directory=units)
    split_unit(step, TaskId(0, 0), source, directory=units)
