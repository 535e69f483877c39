"""For all tests: where a test lies decides its marker, and what was not run is said at the end.

Where the tests are divided among processes (`-n 2`), this one starts the broker for all of them.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.hurry import examples

# How long an example takes says more about the machine, which others use too.
settings.register_profile("shared machine", deadline=None, max_examples=examples(100))
settings.load_profile("shared machine")

TESTS = Path(__file__).parent
MARKED_DIRECTORIES = ("broker", "chaos", "bench")
HOW_TO_RUN = {
    "slow": "make test",
    "broker": "make test",
    "chaos": "make chaos",
    "bench": "make bench",
    "celery": "make test-celery",
    "thorough": "make test-thorough",
}

BROKER = "STREAMER_TEST_BROKER"
# A file system in memory, where there is one.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 << 30

# New objects between two looks for cycles, and looks of one generation between two of the next. A
# process of tests has hundreds of thousands that stay: with Python's own 700 and 10 looking at them
# was a fifth of the time.
COLLECTION = (50_000, 20, 20)

_not_run: list[tuple[str, str]] = []
_deselected: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips", action="store_true", help="end with an error if a test was not run"
    )


def _is_roomy(directory: Path) -> bool:
    """Whether a run's files fit there, and into the memory that it is made of."""
    if not directory.is_dir() or shutil.disk_usage(directory).free < ROOM_BYTES:
        return False
    memory = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return memory is not None and int(memory[1]) * 1024 > ROOM_BYTES


def _use_memory(config: pytest.Config) -> None:
    """Nothing that tests write must outlive the power; on a disk they wait for it half of the time.
    Whoever wants to look at the files gives a TMPDIR."""
    directory = tempfile.mkdtemp(prefix="streamer-tests-", dir=MEMORY)
    os.environ["TMPDIR"] = tempfile.tempdir = directory

    def leave() -> None:
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
        shutil.rmtree(directory, ignore_errors=True)

    config.add_cleanup(leave)


@pytest.fixture(autouse=True)
def _own_level() -> Iterator[None]:
    """A command sets the level of its process's log, which ends with it; here others come after.
    It may have been one of a fixture of wider scope, which nobody has cleaned up after."""
    logger = logging.getLogger("streamer")
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(logging.NOTSET)


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(*COLLECTION)
    is_first = not hasattr(config, "workerinput")
    if is_first and "TMPDIR" not in os.environ and _is_roomy(MEMORY):
        _use_memory(config)
    is_divided = is_first and getattr(config.option, "numprocesses", None)
    if is_divided:
        from tests.division import prepare_asserts

        prepare_asserts(config)
    if is_divided and "not broker" not in config.option.markexpr and BROKER not in os.environ:
        from tests.session import session_broker

        # Thorough compiling would not pay: brokers of single scenarios live for seconds, and that
        # of the session took 42 s of a processor in four minutes with it, 32 without. Nor would it
        # pay to collect garbage beside the work, on cores that are never idle.
        if "JAVA_TOOL_OPTIONS" not in os.environ:
            os.environ["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
            config.add_cleanup(lambda: os.environ.pop("JAVA_TOOL_OPTIONS"))
        sandbox = session_broker().start()
        config.add_cleanup(sandbox.stop)
        os.environ[BROKER] = sandbox.bootstrap_servers
        config.add_cleanup(lambda: os.environ.pop(BROKER))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    from tests.division import is_for_others

    return is_for_others(collection_path, config) or None


@cache
def _directory(path: Path) -> str:
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (directory := _directory(item.path)) in MARKED_DIRECTORIES:
            item.add_marker(directory)
    # Scenarios with sessions of seconds go before what only computes, and long files before others:
    # else one process would still be at them when the rest have nothing left.
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (not item.get_closest_marker("broker"), item.path not in long))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.division import Scheduling

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """What is there now stays to the end: nobody needs to look at it again."""
    gc.collect()
    gc.freeze()


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        kinds = [kind for kind in HOW_TO_RUN if item.get_closest_marker(kind)]
        if kinds:
            _deselected[kinds[-1]] += 1


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _not_run.append((report.nodeid, reason.removeprefix("Skipped: ")))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _not_run.append((report.nodeid, reason.removeprefix("Skipped: ")))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = dict(_deselected)
    if exitstatus == pytest.ExitCode.OK and _not_run and session.config.option.strict_skips:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Some processes, or each of them, have seen all tests.
    _deselected.update(Counter(getattr(node, "workeroutput", {}).get("deselected")) - _deselected)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _not_run and not _deselected:
        return
    terminalreporter.section("not run")
    for name, reason in _not_run:
        terminalreporter.write_line(f"not run: {name}: {reason}")
    for kind, count in sorted(_deselected.items()):
        noun = "test" if count == 1 else "tests"
        how = HOW_TO_RUN[kind]
        terminalreporter.write_line(f"not run: {count} {kind} {noun}: `{how}` runs them")
