"""A worker's collector gives back to Python what it had taken, and no more."""

from __future__ import annotations

import gc
import subprocess
import sys

from streamer.worker.collector import Collector
from tests.broker.workers import ROOT

ALONE = """
import gc
from streamer.worker.collector import Collector
assert gc.get_freeze_count() == 0
collector = Collector()
assert gc.get_freeze_count() > 0 and not gc.isenabled()
collector.restore()
print(gc.get_freeze_count(), gc.isenabled())
"""


def test_what_somebody_else_has_frozen_stays_so() -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    assert before > 0
    was_enabled = gc.isenabled()
    Collector().restore()
    assert gc.get_freeze_count() >= before
    assert gc.isenabled() == was_enabled


def test_alone_it_leaves_nothing_frozen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["0", "True"], done.stderr
