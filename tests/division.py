"""How the tests of a run are divided among processes (`-n 4`)."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion import rewrite
from xdist.scheduler import LoadFileScheduling

__all__ = ["Scheduling", "is_for_others", "prepare_asserts"]

TESTS = Path(__file__).parent

# Where each test is a scenario that waits more than it computes.
WITH_AIRFLOW, WITH_KAFKA = "tests/airflow/", "tests/broker/"
SCENARIOS = (WITH_KAFKA, WITH_AIRFLOW)
# Of so many processes the first ones have scenarios with Airflow as well and nothing else, and the
# last one no scenario. Those between take what only computes once no scenario is left: with one
# process for it alone, a core would have nothing to do at the end.
PROCESSES = 4
HAVE_AIRFLOW = 2
HAVE_NONE = 1


def is_for_others(path: Path, config: pytest.Config) -> bool:
    """Whether this process leaves what lies there to others.

    Collecting all is eight seconds of a CPU, five of them to import Airflow. So where a run of all
    tests has processes to spare, each collects a part alone.
    """
    own = getattr(config, "workerinput", None)
    if own is None or own["workercount"] < PROCESSES:
        return False
    if path.parent != TESTS or not path.is_dir() or TESTS not in map(_resolved, config.args):
        return False
    place, number = f"tests/{path.name}/", _number(own["workerid"])
    if number >= PROCESSES - HAVE_NONE:
        return place in SCENARIOS
    if number >= HAVE_AIRFLOW:
        return place == WITH_AIRFLOW
    return place not in SCENARIOS


def _resolved(arg: str) -> Path:
    return Path(arg.partition("::")[0]).resolve()


def _number(worker: str) -> int:
    return int(worker.removeprefix("gw"))


class Scheduling(LoadFileScheduling):
    """A file's tests stay together, which share what a module's fixtures start. So do all of tidy,
    which share the text of all files.

    The first ones begin with scenarios that need Airflow, and where there are enough the last one
    with what is no scenario: that fills the time in which scenarios wait, rather than to come after
    them all. Each process is given what it has collected.
    """

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        self.registered_collections[node] = list(collection)

    def schedule(self) -> None:
        if self.collection is not None:
            super().schedule()
            return
        self.collection = list(dict.fromkeys(chain(*self.registered_collections.values())))
        for test in self.collection:
            self.workqueue.setdefault(self._split_scope(test), {})[test] = False
        self._refuse_differences()
        for node in self.nodes:
            self._assign_work_unit(node)
        # A process runs a test once it knows the one after it.
        for node in self.nodes:
            self._reschedule(node)

    def _refuse_differences(self) -> None:
        """A test whose name is another one in each process would run more than once, or never."""
        for node, collection in self.registered_collections.items():
            own = set(collection)
            for scope in {self._split_scope(test) for test in collection}:
                if other := self.workqueue[scope].keys() - own:
                    raise pytest.UsageError(
                        f"{node.gateway.id} has not collected {min(other)}, others have"
                    )

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "tests/tidy" if file.startswith("tests/tidy/") else file

    def _assign_work_unit(self, node: Any) -> None:
        own = set(map(self._split_scope, self.registered_collections[node]))
        scopes = [scope for scope in self.workqueue if scope in own]
        if not scopes:
            node.shutdown()
            return
        first = next(filter(self._is_first_for(node), scopes), scopes[0])
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def _is_first_for(self, node: Any) -> Callable[[str], bool]:
        """What only some processes have collected, they do before what all have."""
        number = _number(node.gateway.id)
        if number >= PROCESSES - HAVE_NONE:
            return lambda scope: not scope.startswith(SCENARIOS)
        return lambda scope: number < HAVE_AIRFLOW and scope.startswith(WITH_AIRFLOW)


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
