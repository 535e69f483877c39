"""How the tests of a run are divided among processes (`-n 8`)."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion import rewrite
from xdist.scheduler import LoadFileScheduling

__all__ = ["Scheduling", "prepare_asserts"]

# Where each test is a scenario that waits more than it computes.
SCENARIOS = ("tests/broker/", "tests/airflow/")
# So many processes may wait for each other's processor before others are set apart.
PROCESSES_TO_SPARE = 6


class Scheduling(LoadFileScheduling):
    """A file's tests stay together, which share what a module's fixtures start. So do all of tidy,
    which share the text of all files.

    Where there are many processes, the last ones begin with the first file that is no scenario:
    what only computes fills the time in which scenarios wait, rather than to come after them all.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "tests/tidy" if file.startswith("tests/tidy/") else file

    def _assign_work_unit(self, node: Any) -> None:
        if int(node.gateway.id.removeprefix("gw")) >= PROCESSES_TO_SPARE:
            computes = (scope for scope in self.workqueue if not scope.startswith(SCENARIOS))
            if (scope := next(computes, None)) is not None:
                self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def prepare_asserts(config: pytest.Config) -> None:
    """Write what pytest makes of each file of tests, where it is missing or old.

    Processes that begin together would each do it for all files: ten seconds of a CPU for each.
    """
    if sys.dont_write_bytecode:
        return
    files = [file for arg in config.args for file in _files(Path(arg.partition("::")[0]))]
    stale = [file for file in files if not _is_prepared(file)]
    count = os.cpu_count() or 1
    fork = multiprocessing.get_context("fork")
    shares = [fork.Process(target=_prepare, args=(config, stale[at::count])) for at in range(count)]
    for share in shares if stale else ():
        share.start()
    for share in shares if stale else ():
        share.join()


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [file for file in found if file.name.startswith("test_") or file.name == "conftest.py"]


def _cached(file: Path) -> Path:
    return rewrite.get_cache_dir(file) / (file.stem + rewrite.PYC_TAIL)


def _is_prepared(file: Path) -> bool:
    cached = _cached(file)
    return cached.is_file() and cached.stat().st_mtime >= file.stat().st_mtime


def _prepare(config: pytest.Config, files: Sequence[Path]) -> None:
    state = config.stash[rewrite.assertstate_key]
    for file in files:
        source_hash, code = rewrite._rewrite_test(file, config)
        cached = _cached(file)
        cached.parent.mkdir(exist_ok=True)
        rewrite._write_pyc(state, code, source_hash, cached)
