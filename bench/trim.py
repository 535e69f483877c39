"""A state whose every key was updated 100 times: what a trim leaves of its changelog on the disk.

The changelog is not compacted meanwhile, so that it is as long as what was written. A worker takes
it in and is stopped; two snapshots of its database are made and verified; it runs again, and says
what its disk has. Then the plan, the trim, and what the broker's files have come to. In the end the
snapshot is fetched and every row compared.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Rdict
from rocksdict import Options as RocksOptions

from bench.broker import HEAP_MIB
from bench.changelog import RECORD_BYTES, Changelog, blocks
from bench.measure import Child, MeasureError
from bench.options import Options, UsageError
from bench.report import Column, Row
from bench.run import failure, say, start
from bench.stores import check_stores
from bench.systems import Case
from bench.systems.streamer_restore import SYSTEM, told
from bench.topics import Filler, Topics
from streamer.changelog.format import Positions
from streamer.changelog.topics import changelog_settings
from streamer.config import Config
from streamer.ids import TaskId, TopicPartition, changelog_topic
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from streamer.operations.trim.kind import open_world
from streamer.operations.trim.sizes import sampled_sizes
from streamer.operations.trim.survey import Survey, survey
from streamer.sandbox import Sandbox
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.fetch import fetch
from streamer.snapshot.manifest import Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.verified import note_verified
from streamer.snapshot.verify import verify

TITLE = "trim"
COLUMNS = (
    Column("case", "case"),
    Column("before_mib", "MiB before", ",.1f", spread=True),
    Column("after_mib", "after", ",.1f", spread=True),
    Column("percent", "%", ".2f", spread=True),
    Column("logical_before_mib", "records before, MiB", ",.1f"),
    Column("logical_after_mib", "after", ",.1f"),
    Column("foretold_mib", "freed as foretold, MiB", ",.1f"),
    Column("segment_mib", "segment, MiB", ",.0f"),
    Column("state_mib", "state, MiB", ",.1f"),
    Column("seconds", "seconds", ".1f", spread=True),
    Column("correct", "correct"),
)

UPDATES = 100
SEGMENT_BYTES = 4 << 20
_STORE = "stats"
_WAIT_S = 120.0
_SETTLED_S = 8.0
_MIB = 1 << 20


class Updated:
    """The one case; its title is what `--only` finds."""

    title = f"every key updated {UPDATES} times"


SYSTEMS = (Updated(),)


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs when they are done."""
    options.chosen(SYSTEMS)
    if options.bootstrap:
        raise UsageError("trim measures the broker's files, so it needs a broker of its own")
    keys = options.customers or (options.events // UPDATES) or 5_000
    changelog = Changelog(records=keys * UPDATES, keys=keys, partitions=options.partitions or 1)
    rows: list[Row] = []
    for turn in range(1, options.runs + 1):
        say(f"run {turn} of {options.runs}: {changelog.records:,} records of {keys:,} keys")
        row: dict[str, object] = {"case": Updated.title}
        try:
            row |= _Run(changelog).row()
        except Exception as error:
            row |= {"correct": False, "error": failure(error)}
        rows.append(row)
    emit(rows)


class _Run:
    """One broker, one application, one trim."""

    def __init__(self, changelog: Changelog) -> None:
        self._changelog = changelog
        self._home = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
        self._sandbox = Sandbox(self._home / "kafka", heap_mib=HEAP_MIB)
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self._topic = changelog_topic(name, _STORE)
        self._case_name = name

    def row(self) -> dict[str, object]:
        try:
            with self._sandbox:
                return self._measured()
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def _measured(self) -> dict[str, object]:
        case, config = self._case(), self._config()
        self._fill(config)
        before = self._settled_bytes()
        worker = self._restored(case)
        worker.terminate()
        worker.wait()
        self._snapshot(case, config)
        worker = self._restored(case)
        try:
            began = time.monotonic()
            found = self._survey(config)
            with Executor(config, KafkaTable(config), all_kinds()) as executor:
                operation = executor.propose("trim", found.request(), why="the benchmark").id
                done = executor.start(operation)
            seconds = time.monotonic() - began
            if done.state != "done":
                raise MeasureError(f"the trim is {done.state}: {done.trouble}")
            after = self._settled_bytes()
            left = sum(part.floor.log.end - part.to for part in found.parts)
        finally:
            worker.terminate()
            worker.wait()
        faults = self._faults(config)
        for fault in faults:
            say(f"trim: {fault}")
        return {
            "before_mib": before / _MIB,
            "after_mib": after / _MIB,
            "percent": 100 * after / before,
            "logical_before_mib": self._changelog.records * RECORD_BYTES / _MIB,
            "logical_after_mib": left * RECORD_BYTES / _MIB,
            "foretold_mib": sum(part.freed or 0 for part in found.parts) / _MIB,
            "segment_mib": SEGMENT_BYTES / _MIB,
            "state_mib": self._changelog.keys * RECORD_BYTES / _MIB,
            "seconds": seconds,
            "correct": not faults and after < before,
        }

    # -- the changelog ---------------------------------------------------------------------------

    def _config(self) -> Config:
        return Config(
            application_id=self._case_name,
            bootstrap_servers=self._sandbox.bootstrap_servers,
            snapshot_repository=f"file://{self._home / 'repository'}",
            changelog_segment_bytes=SEGMENT_BYTES,
        )

    def _case(self) -> Case:
        state = self._home / "state"
        state.mkdir()
        return Case(
            bootstrap=self._sandbox.bootstrap_servers,
            application=self._case_name,
            source=f"{self._case_name}-events",
            target=f"{self._case_name}-results",
            state=state,
            commit_ms=1_000,
            partitions=self._changelog.partitions,
        )

    def _fill(self, config: Config) -> None:
        topics, count = Topics(config.bootstrap_servers), self._changelog.partitions
        topics.create(f"{self._case_name}-events", partitions=count)
        settings = changelog_settings(config) | {
            "min.compaction.lag.ms": "86400000",
            "max.compaction.lag.ms": "9223372036854775807",
        }
        topics.create(self._topic, partitions=count, settings=settings)
        topics.commit_start(self._case_name, topic=f"{self._case_name}-events", partitions=count)
        filler = Filler(config.bootstrap_servers, self._topic)
        for keys, values in blocks(self._changelog):
            filler.send(keys, values)
        filler.finish()
        topics.close()

    def _settled_bytes(self) -> int:
        """What the files of the changelog take, once that has been the same for some seconds."""
        deadline = time.monotonic() + _WAIT_S
        size, since = self._bytes(), time.monotonic()
        while time.monotonic() - since < _SETTLED_S:
            if time.monotonic() > deadline:
                raise MeasureError("the broker's files have not come to rest")
            time.sleep(0.5)
            if (found := self._bytes()) != size:
                size, since = found, time.monotonic()
        return size

    def _bytes(self) -> int:
        total = 0
        for path in self._sandbox.directory.rglob(f"{self._topic}-*/*"):
            try:
                # Of the disk: index files of open segments are sparse.
                total += path.stat().st_blocks * 512
            except FileNotFoundError:
                continue
        return total

    # -- the worker and its snapshots --------------------------------------------------------------

    def _restored(self, case: Case) -> Child:
        """A worker that runs all its tasks."""
        log = SYSTEM.log(case)
        log.unlink(missing_ok=True)
        [child] = start(SYSTEM, case)
        deadline = time.monotonic() + _WAIT_S
        while log.read_text(errors="replace").count(" runs: restored ") < case.partitions:
            child.check()
            if time.monotonic() > deadline:
                child.terminate()
                child.wait()
                raise MeasureError(f"no task runs after {_WAIT_S:.0f} s: {told(log.read_text())}")
            time.sleep(0.1)
        return child

    def _snapshot(self, case: Case, config: Config) -> None:
        """Two snapshots of each database that the stopped worker has left, both verified."""
        repository = open_repository(config)
        try:
            for current in sorted(case.state.rglob("tasks/*/CURRENT")):
                task = TaskId.parse(current.parent.name)
                place = TopicPartition(self._topic, task.partition)
                copy = self._home / f"checkpoint-{task}"
                shutil.copytree(
                    current.parent, copy, ignore=shutil.ignore_patterns("LOCK", "LOG*", "ingest")
                )
                about = About(
                    created_ms=time.time_ns() // 1_000_000,
                    stores={_STORE: "key_value"},
                    changelog=(Position(*place, _position(copy)),),
                    input=(),
                )
                shelf = repository.shelf(self._case_name, task)
                for _ in range(2):
                    made = create(repository, shelf, Checkpoint(copy), about=about)
                    stem = made.manifest.stem
                    if not verify(repository, shelf, stem).is_whole:
                        raise MeasureError(f"snapshot {stem} is not whole")
                    note_verified(shelf, stem, "contents")
        finally:
            repository.close()

    def _survey(self, config: Config) -> Survey:
        """A plan for all partitions, as soon as the worker has told what its disk has."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            with open_world(config) as world:
                found = survey(
                    world, is_capped=False, sizes=lambda parts: sampled_sizes(config, parts)
                )
            if len(found.chosen) == self._changelog.partitions:
                return found
            if time.monotonic() > deadline:
                why = [part.floor.limit for part in found.parts]
                raise MeasureError(f"nothing can be trimmed: {why}")
            time.sleep(1.0)  # a survey asks for a dozen things

    def _faults(self, config: Config) -> tuple[str, ...]:
        """A disk that was lost, from the snapshot alone: the trimmed log holds nothing newer."""
        target = self._home / "fetched"
        repository = open_repository(config)
        try:
            for shelf in repository.shelves(self._case_name):
                stem = shelf.entries()[-1].stem
                fetch(repository, shelf, stem, staging=target / str(shelf.task))
        finally:
            repository.close()
        return check_stores(target, self._changelog)


def _position(database: Path) -> int:
    """Where the store of a closed database stands."""
    names = Rdict.list_cf(str(database), RocksOptions(raw_mode=True))
    families = {name: RocksOptions(raw_mode=True) for name in names if name != "default"}
    opened = Rdict(
        str(database),
        RocksOptions(raw_mode=True),
        column_families=families,
        access_type=AccessType.read_only(False),
    )
    try:
        rows: Any = opened.items()
        metadata = {bytes(key): bytes(value) for key, value in rows}
    finally:
        opened.close()
    known = {
        key.decode(): value for key, value in metadata.items() if key.startswith(b"changelog/")
    }
    return Positions.decode(known).changelogs[_STORE]
