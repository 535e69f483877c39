"""Formatted data and loaded classes in the cache: made once, used, and never in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamer.sandbox.jars import fetch
from streamer.sandbox.prepared import CLASSES, java, prepare
from streamer.sandbox.settings import LOGGING
from tests.thorough import thorough, thorough_but

SHARED = "source: shared objects file"


def run(home: Path | None, directory: Path, *options: str) -> str:
    """What a short program of Kafka's says, with the classes of `home`."""
    logging = directory / "log4j2.properties"
    logging.write_text(LOGGING, encoding="ascii")
    command = java(fetch(), logging, heap_mib=256, prepared=home)
    command += [*options, "kafka.tools.StorageTool", "random-uuid"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=480, check=True)
    assert "warning" not in done.stderr.lower()
    return done.stdout


@thorough
def test_two_that_start_at_once_prepare_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from streamer.sandbox import jars, prepared;"
        "print(prepared.prepare(jars.fetch(), cache=Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (Path(one.communicate(timeout=900)[0].strip()) for one in both)
    assert first == second == prepare(fetch(), cache=tmp_path)
    assert {path.name for path in first.iterdir()} == {CLASSES, "data"}
    assert {path.name for path in first.parent.iterdir()} == {".lock", first.name}
    classes = run(first, tmp_path, "-Xlog:class+load").splitlines()
    shared = [line for line in classes if SHARED in line]
    assert any("kafka.tools.StorageTool " in line for line in shared)
    assert len(shared) > 0.8 * sum("source: " in line for line in classes)


@pytest.mark.parametrize(
    "damage", thorough_but(["cut off"], ["empty", "cut off", "foreign", "gone"])
)
def test_classes_that_are_damaged_only_cost_time(tmp_path: Path, damage: str) -> None:
    home = prepare(fetch())
    assert home is not None
    whole = (home / CLASSES).read_bytes()
    damaged = {"empty": b"", "cut off": whole[: len(whole) // 2], "foreign": b"\x7fELF" * 50_000}
    if damage in damaged:
        (tmp_path / CLASSES).write_bytes(damaged[damage])
    said = run(tmp_path, tmp_path).split()
    assert len(said) == 1
    assert len(said[0]) == 22
