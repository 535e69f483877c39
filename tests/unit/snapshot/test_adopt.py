"""What was fetched takes the place of a database as a whole, whatever is killed when."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.errors import StateDirectoryError
from streamer.failpoints import InjectedError
from streamer.snapshot.adopt import Adopted, adopt, remove_former, settle, settle_all, staging_of

# What a process is killed at, and whether the new state is there after the next start.
ADOPTIONS = [
    ("adopt.before_marker", False),
    ("adopt.after_marker", False),
    ("adopt.between_renames", True),
    ("adopt.before_marker_removed", True),
]

PROGRAM = """
import sys
from pathlib import Path
from streamer.snapshot.adopt import adopt
adopt(Path(sys.argv[1]), Path(sys.argv[2]), now_ms=7)
"""


@pytest.fixture
def exchange(tmp_path: Path) -> tuple[Path, Path]:
    """What was fetched, and the database whose place it is to take."""
    target = tmp_path / "tasks" / "0_3"
    target.mkdir(parents=True)
    (target / "CURRENT").write_text("old")
    fetched = staging_of(target) / "files"
    fetched.mkdir(parents=True)
    (fetched / "CURRENT").write_text("new")
    return fetched, target


@pytest.mark.parametrize(("point", "is_new"), ADOPTIONS)
def test_an_exchange_that_is_killed_is_finished_or_undone(
    exchange: tuple[Path, Path], point: str, is_new: bool
) -> None:
    fetched, target = exchange
    command = [sys.executable, "-c", PROGRAM, str(fetched), str(target)]
    environment = {**os.environ, failpoints.VARIABLE: f"{point}=kill"}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL

    said = settle(target)

    assert (target / "CURRENT").read_text() == ("new" if is_new else "old")
    assert bool(said) == (point != "adopt.before_marker")
    assert settle(target) == "", "once is enough"
    assert target.with_name("0_3.old-7").exists() == is_new
    if not is_new:
        adopt(fetched, target, now_ms=8)
        assert (target / "CURRENT").read_text() == "new"


@pytest.mark.parametrize(("point", "is_new"), ADOPTIONS)
def test_an_exchange_without_a_former_database_too(
    exchange: tuple[Path, Path], point: str, is_new: bool
) -> None:
    fetched, target = exchange
    shutil.rmtree(target)
    with failpoints.armed(point, "error"), pytest.raises(InjectedError):
        adopt(fetched, target, now_ms=7)
    settle(target)
    assert target.exists() == (point != "adopt.before_marker")
    assert settle(target) == ""


def test_an_exchange_keeps_the_former_database(exchange: tuple[Path, Path]) -> None:
    fetched, target = exchange
    adopted = adopt(fetched, target, now_ms=7)
    assert adopted == Adopted(target, target.with_name("0_3.old-7"))
    assert adopted.former is not None
    assert (adopted.former / "CURRENT").read_text() == "old"
    assert not staging_of(target).exists()
    remove_former(adopted)
    remove_former(adopted)
    assert [path.name for path in target.parent.iterdir()] == ["0_3"]


def test_a_start_settles_all_that_was_cut(exchange: tuple[Path, Path]) -> None:
    fetched, target = exchange
    assert settle_all(target.parent) == settle_all(target.parent / "none") == []
    with failpoints.armed("adopt.between_renames", "error"), pytest.raises(InjectedError):
        adopt(fetched, target, now_ms=7)
    assert settle_all(target.parent) == [f"finished the exchange of {target}"]
    assert (target / "CURRENT").read_text() == "new"


def test_an_exchange_that_cannot_be_settled_says_which_directories(
    exchange: tuple[Path, Path],
) -> None:
    _fetched, target = exchange
    marker = target.with_name("0_3.adopting")
    marker.write_text("torn")
    with pytest.raises(StateDirectoryError, match="cannot be settled") as raised:
        settle(target)
    assert str(marker) in raised.value.hint
