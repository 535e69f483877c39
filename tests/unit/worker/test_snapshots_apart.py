"""The process that makes snapshots for a worker: what it says, how it ends, and what it leaves."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.errors import RepositoryError, SnapshotError, StoppedError
from streamer.ids import TaskId
from streamer.snapshot import apart
from streamer.snapshot.apart import Job, Said, _put_behind, make_apart
from streamer.snapshot.apart_process import _Forward
from streamer.snapshot.create import About
from streamer.snapshot.manifest import Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.pace import Pace
from streamer.snapshot.transfer import Progress
from streamer.snapshot.verify import verify
from tests.unit.worker.snapshotting import Host, rows

pytestmark = pytest.mark.long

TASK = TaskId(0, 1)
ABOUT = About(
    created_ms=1,
    stores={"totals": "key-value"},
    changelog=(Position("app-totals-changelog", 1, 10, "topic-id"),),
    input=(),
    operation="op",
)


@pytest.fixture
def job(host: Host, tmp_path: Path) -> Job:
    one = host.task(1)
    one.commit(rows(20_000))
    one.database.checkpoint(tmp_path / "checkpoint")
    return Job(
        config=host.config,
        address="",
        task=TASK,
        directory=tmp_path / "checkpoint",
        digests=tmp_path / "digests",
        about=ABOUT,
    )


def made_by(parent: int) -> list[int]:
    """The processes that a process has started to make snapshots."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()
            if b"streamer.snapshot.apart_process" in words and int(state[1]) == parent:
                found.append(int(entry.name))
    return found


def stems(job: Job) -> list[str]:
    with open_repository(job.config) as place:
        shelf = place.shelf("app", TASK)
        return [manifest.stem for manifest in shelf.manifests()]


def awaited(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def one_made_by(parent: int, until: Callable[[Callable[[], object]], None]) -> int:
    """The first that is seen. It has no command line for a moment, when another program takes the
    place of its first."""
    seen: list[int] = []

    def is_seen() -> bool:
        seen.extend(made_by(parent))
        return bool(seen)

    until(is_seen)
    return seen[0]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The process stands before its commit until the path is there."""
    path = tmp_path / "go-on"
    monkeypatch.setenv("STREAMER_FAILPOINTS", f"snapshot.before_commit=wait:{path}")
    yield path
    path.touch()


@pytest.mark.slow
def test_it_stands_behind_others_and_says_how_far_it_is(job: Job, held: Path) -> None:
    heard: list[Progress] = []
    levels: set[int] = set()

    def report(progress: Progress) -> None:
        heard.append(progress)
        for pid in made_by(os.getpid()):
            with suppress(OSError):
                threads = [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]
                levels.update(os.getpriority(os.PRIO_PROCESS, each) for each in threads)
        if progress.bytes_done == progress.bytes_total > 0:
            held.touch()

    config = Config(
        application_id="app",
        snapshot_repository=job.config.snapshot_repository,
        snapshot_niceness=15,
    )
    made = make_apart(replace(job, config=config), Pace(), report)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert levels == {min(own + 15, 19)}, "from its first line on, and all its threads"
    assert [each for each, _ in groupby(one.phase for one in heard)] == ["", "hash", "send"]
    assert heard[-1].bytes_total == heard[-1].bytes_done == made.sent_bytes > 2_000_000
    with open_repository(job.config) as place:
        shelf = place.shelf("app", TASK)
        assert verify(place, shelf, made.manifest.stem).is_whole
        assert shelf.manifests() == [made.manifest]
    assert job.digests.exists()
    assert made_by(os.getpid()) == []


def test_one_step_further_back_it_takes_only_what_nobody_wants() -> None:
    # Not of one that makes a snapshot: the machine of a test may leave nothing over.
    sleeping = subprocess.Popen(["sleep", "600"])
    try:
        for niceness, policy in ((19, os.SCHED_OTHER), (20, os.SCHED_IDLE)):
            _put_behind(sleeping.pid, niceness)
            assert os.getpriority(os.PRIO_PROCESS, sleeping.pid) == 19
            assert os.sched_getscheduler(sleeping.pid) == policy
    finally:
        sleeping.kill()
        sleeping.wait()
    _put_behind(sleeping.pid, 20)


def test_it_moves_as_fast_as_the_worker_lets_it(job: Job) -> None:
    passed: list[int] = []

    class Counting(Pace):
        def take(self, count: int, meanwhile: object = None) -> None:
            passed.append(count)

    made = make_apart(replace(job, is_limited=True), Counting(), lambda _progress: None)
    assert sum(passed) >= 2 * made.sent_bytes, "hashed, and sent"


@pytest.mark.slow
def test_it_rests_between_the_pieces_of_its_work(job: Job) -> None:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    made = make_apart(replace(job, cpu_percent=25), Pace(), lambda _progress: None)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert 0.05 < used_s < 0.4 * seconds, "what comes after its last piece is not waited for"
    assert stems(job) == [made.manifest.stem]


@pytest.mark.slow
def test_it_does_not_rest_any_longer_when_nobody_wants_the_snapshot(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "_GRACE_S", 300.0)
    seen: list[tuple[float, str]] = []
    stopped: list[float] = []

    def report(_progress: Progress) -> None:
        for pid in made_by(os.getpid()):
            with suppress(OSError):
                used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                if not seen or seen[-1][1] != str(used):
                    seen.append((time.monotonic(), str(used)))
        if seen and time.monotonic() - seen[-1][0] > 1:
            stopped.append(time.monotonic())
            raise StoppedError("it is not wanted")

    # What it takes to start is a third of a second at least, and so half a minute of rest.
    with pytest.raises(StoppedError):
        make_apart(replace(job, cpu_percent=1), Pace(), report)
    assert time.monotonic() - stopped[0] < 20
    assert made_by(os.getpid()) == []


def test_it_ends_when_nobody_wants_the_snapshot_and_withdraws_it(job: Job, held: Path) -> None:
    def report(progress: Progress) -> None:
        if progress.bytes_done == progress.bytes_total > 0:
            raise StoppedError("it is not wanted")

    with pytest.raises(StoppedError, match="not wanted"):
        make_apart(job, Pace(), report)
    assert made_by(os.getpid()) == []
    assert stems(job) == []


@pytest.mark.slow
def test_it_is_let_go_while_it_asks_how_fast_it_may_go(job: Job) -> None:
    asked = threading.Event()

    class Slow(Pace):
        def take(self, count: int, meanwhile: object = None) -> None:
            asked.set()

    def report(_progress: Progress) -> None:
        if asked.is_set():
            raise StoppedError("it is not wanted")

    began = time.monotonic()
    with pytest.raises(StoppedError):
        make_apart(replace(job, is_limited=True), Slow(), report)
    assert made_by(os.getpid()) == []
    assert time.monotonic() - began < 60
    with open_repository(job.config) as place:
        assert list(place.backend.unfinished()) == []
        assert list(place.backend.list("applications/app/")) == [], "the note is withdrawn"


def test_one_that_is_killed_is_an_error_that_says_so(job: Job, held: Path) -> None:
    def report(progress: Progress) -> None:
        if progress.bytes_done == progress.bytes_total > 0:
            for pid in made_by(os.getpid()):
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(SnapshotError, match="ended by itself, with signal 9"):
        make_apart(job, Pace(), report)
    assert stems(job) == []


@pytest.mark.slow
def test_a_worker_goes_on_after_it_was_killed(host: Host) -> None:
    host.make = make_apart
    host.snapshots.close()
    host.begin()
    one = host.task(1)
    one.commit(rows(20_000))
    os.environ["STREAMER_FAILPOINTS"] = "snapshot.after_pending=sleep:60000"
    try:
        host.order()
        os.kill(one_made_by(os.getpid(), host.until), signal.SIGKILL)
        host.until(lambda: (chore := host.chore(one.task)) and chore.state == "failed")
    finally:
        del os.environ["STREAMER_FAILPOINTS"]
    host.clock.advance(600_000)
    host.until(lambda: host.is_done(one))
    assert len(host.manifests(one)) == 1


@pytest.mark.slow
def test_what_goes_wrong_there_is_told_here(
    job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        make_apart(replace(job, directory=tmp_path / "nowhere"), Pace(), lambda _progress: None)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RepositoryError) as caught:
        make_apart(replace(job, address=f"file://{tmp_path}/file"), Pace(), lambda _progress: None)
    assert caught.value.hint
    monkeypatch.setenv("STREAMER_FAILPOINTS", "snapshot.before_commit=error")
    with caplog.at_level(logging.WARNING), pytest.raises(SnapshotError, match="InjectedError"):
        make_apart(job, Pace(), lambda _progress: None)
    lines = [(each.name, each.getMessage()) for each in caplog.records]
    assert ("streamer.failpoints", "failpoint snapshot.before_commit acts: error") in lines
    assert any("Traceback" in text for _name, text in lines)


def test_a_line_that_cannot_be_written_costs_no_snapshot() -> None:
    said: list[Said] = []

    class Line:
        def say(self, what: Said) -> None:
            said.append(what)

    forward = _Forward(Line())  # type: ignore[arg-type]
    for words, given in (("%d files", ("many",)), ("%s of %s", (1,)), (b"%s" % b"raw", ())):
        forward.emit(logging.LogRecord("library", logging.ERROR, "", 1, words, given, None))
    assert [each.text.partition(":")[0] for each in said[:2]] == [
        "'%d files' cannot be written",
        "'%s of %s' cannot be written",
    ]
    assert [each.level for each in said] == [logging.ERROR] * 3


_WORKER = """
import pickle, sys
from streamer.snapshot.apart import make_apart
from streamer.snapshot.pace import Pace
make_apart(pickle.load(open(sys.argv[1], "rb")), Pace(), lambda _progress: None)
"""


@pytest.mark.slow
def test_it_dies_with_the_worker(job: Job, held: Path, tmp_path: Path) -> None:
    import pickle

    (tmp_path / "job").write_bytes(pickle.dumps(job))
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, str(tmp_path / "job")])
    pid = one_made_by(worker.pid, awaited)
    worker.kill()
    worker.wait()
    awaited(lambda: not Path(f"/proc/{pid}").exists())
    assert stems(job) == []


_HELPER = """\
#!/bin/sh
echo $$ > {told}
# What is there to be read: the end, at once, where nobody listens; else an answer to who asked.
head -c 1 | wc -c >> {told}
exec sleep 600
"""


@pytest.mark.slow
def test_what_it_asks_for_credentials_has_no_part_in_the_line_and_goes_with_it(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    helper, told = tmp_path / "helper", tmp_path / "told"
    helper.write_text(_HELPER.format(told=told))
    helper.chmod(0o700)
    (tmp_path / "aws").write_text(f"[default]\ncredential_process = {helper}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nowhere"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    began = time.monotonic()

    def report(_progress: Progress) -> None:
        if told.exists() and len(told.read_text().split()) == 2:
            raise StoppedError("it is not wanted")
        assert time.monotonic() - began < 300, "it waits for what nobody says"

    with pytest.raises(StoppedError):
        make_apart(replace(job, address="s3://bucket/prefix"), Pace(), report)
    pid, count = told.read_text().split()
    assert count == "0"
    awaited(lambda: not Path(f"/proc/{pid}").exists())
