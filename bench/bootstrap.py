"""An empty worker becomes warm: from the changelog, and from a snapshot in each kind of repository.

2,000,000 keys of 500 bytes, each updated ten times and not compacted yet: 1 GB of state, 10 GB of
changelog, as a day of updates may leave it (max.compaction.lag.ms). All ways end with the same
state, which is compared key by key. Seconds count from the first sign of restoring to the moment at
which the last task processes.

The last row changes 1 % of the keys, makes a second snapshot, and says how many bytes a host moves
that has the first one.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.broker import running_broker
from bench.changelog import Changelog, value
from bench.events import SCATTER, key_of
from bench.measure import Measurement, measure
from bench.options import Options
from bench.report import Column, Row
from bench.restore import fill, printed
from bench.run import Progress, failure, say, start
from bench.snapshots import Places, databases, fetch_onto, settle, take
from bench.stores import check_stores
from bench.systems import Case, System, kafka_streams_restore, streamer_restore
from bench.topics import Filler, Topics

TITLE = "bootstrap"
COLUMNS = (
    Column("source", "source"),
    Column("state_mib", "state MiB", ",.0f"),
    Column("seconds", "seconds", ".1f", spread=True),
    Column("mib_per_s", "MiB/s of state", ",.0f", spread=True),
    Column("times_kafka_streams", "times Kafka Streams", ".1f", spread=True),
    Column("cpu_s", "CPU s", ".1f", spread=True),
    Column("moved_percent", "% of the state moved", ".2f"),
    Column("correct", "correct"),
)
CHANGED = 0.01
MOVED_MAX = 0.03
_MIB = 1 << 20
_WHOLE = 1_000_000
# Whatever is estimated, the snapshot is taken.
_EAGER = {"STREAMER_BOOTSTRAP_GAIN_MS": "0", "STREAMER_BOOTSTRAP_RECORDS_PER_SECOND": "1"}


@dataclass(frozen=True)
class Way:
    """One row; `repository` is the kind of it, empty for a changelog."""

    source: str
    system: System
    repository: str = ""

    @property
    def title(self) -> str:
        return self.source


_KAFKA_STREAMS = kafka_streams_restore.SYSTEMS[0]
SYSTEMS = (
    Way(_KAFKA_STREAMS.name, _KAFKA_STREAMS),
    Way("changelog", streamer_restore.SYSTEM),
    *(Way(kind, streamer_restore.SYSTEM, kind) for kind in ("file", "s3", "ssh")),
    Way("file, 1 % changed", streamer_restore.SYSTEM, "file"),
)
SECOND = SYSTEMS[-1]


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a way as soon as they are done."""
    ways = options.chosen(SYSTEMS)
    for way in ways:
        way.system.prepare()
    keys = options.customers or 2_000_000
    changelog = Changelog(
        records=options.events or 10 * keys, keys=keys, partitions=options.partitions or 4
    )
    application = f"bench-{uuid.uuid4().hex[:8]}"
    rows: dict[str, list[Row]] = {way.source: [] for way in ways}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-bench-")))
        bootstrap = stack.enter_context(running_broker(options.bootstrap))
        topics = Topics(bootstrap)
        stack.callback(topics.close)
        stack.callback(topics.remove, application)
        fill(topics, application, changelog=changelog)
        bench = _Bench(bootstrap, application, changelog, Places(root, stack))
        bench.prepare({way.repository for way in ways})
        for turn in range(1, options.runs + 1):
            # What the second one changes, all others would have to read.
            for way in [way for way in ways if way is not SECOND or turn == options.runs]:
                say(f"run {turn} of {options.runs}: {way.source}")
                rows[way.source].append(bench.row(way))
                if turn == options.runs:
                    emit(rows[way.source])


@dataclass
class _Bench:
    bootstrap: str
    application: str
    changelog: Changelog
    places: Places
    kafka_streams_s: float = 0.0
    state_mib: float = 0.0
    state: Path = field(default_factory=Path)

    @property
    def topic(self) -> str:
        return f"{self.application}-stats-changelog"

    def prepare(self, repositories: set[str]) -> None:
        """A restored state, unmeasured, and snapshots of it."""
        say("restoring the state that the snapshots are of")
        self.state = self.places.root / "state"
        self.state.mkdir()
        self._continue(self.state)
        settle(self.state)
        size = sum(path.stat().st_size for path in self.state.rglob("*.sst"))
        self.state_mib = size / _MIB
        for kind in ("file", "s3"):
            if kind in repositories or (kind == "file" and "ssh" in repositories):
                say(f"sending snapshots to {kind}")
                self._take(kind)

    def row(self, way: Way) -> Row:
        try:
            return self._second() if way is SECOND else self._row(way)
        except Exception as error:
            return {"source": way.source, "correct": False, "error": failure(error)}

    def _row(self, way: Way) -> Row:
        measured, faults = self._measured(way)
        for fault in faults:
            say(f"{way.source}: {fault}")
        idle_s = max((s.wall_s for s in measured.samples if s.events < 0), default=0.0)
        seconds = measured.last.wall_s - idle_s
        if way.system is _KAFKA_STREAMS:
            self.kafka_streams_s = seconds
        row: dict[str, object] = {
            "source": way.source,
            "state_mib": self.state_mib,
            "seconds": seconds,
            "mib_per_s": self.state_mib / seconds,
            "cpu_s": measured.last.cpu_s,
            "correct": not faults,
        }
        if self.kafka_streams_s:
            row["times_kafka_streams"] = self.kafka_streams_s / seconds
        return row

    def _measured(self, way: Way) -> tuple[Measurement, list[str]]:
        system, case = way.system, self._case()
        if way.repository:
            given = self.places.settings(way.repository).items()
            variables = {f"STREAMER_{name.upper()}": text for name, text in given}
            settings = _EAGER | variables | self.places.environment
            system = replace(system, settings={**system.settings, **settings})

        def progress() -> int:
            told = (system.progress or printed)(case)
            if told < 0 or not way.repository:
                return told
            # Few records are read: the tasks are counted, each for its share.
            return self.changelog.records * _running(system, case) // self.changelog.partitions

        try:
            measured = measure(
                lambda: start(system, case),
                progress=progress,
                total=self.changelog.records,
                on_sample=Progress(way.source),
            )
            log = system.log(case).read_text(errors="replace")
            faults = list(check_stores(case.state, self.changelog))
        finally:
            shutil.rmtree(case.state, ignore_errors=True)
        wanted = self.changelog.partitions if way.repository else 0
        if (found := log.count("restored from snapshot")) != wanted:
            faults.append(f"{found} tasks came from a snapshot, and {wanted} should have")
        return measured, faults

    def _second(self) -> Row:
        """For a host that has the first snapshot, after some keys were changed."""
        first = self.places.root / "first"
        shutil.copytree(self.state, first)
        filler = Filler(self.bootstrap, self.topic)
        keys, last = self.changelog.keys, self.changelog.rounds - 1
        numbers = [rank * SCATTER % keys for rank in range(int(keys * CHANGED))]
        filler.send([key_of(number) for number in numbers], [value(n, last) for n in numbers])
        filler.flush()
        self._continue(self.state)
        sent = self._take("file")
        began = time.perf_counter()
        moved, size = fetch_onto(first, config=self.places.config("file", self.application))
        return {
            "source": SECOND.source,
            "state_mib": size / _MIB,
            "seconds": time.perf_counter() - began,
            "moved_mib": moved / _MIB,
            "moved_percent": 100 * moved / size,
            "sent_percent": 100 * sent / size,
            "correct": moved <= MOVED_MAX * size,
        }

    def _take(self, kind: str) -> int:
        config = self.places.config(kind, self.application)
        return take(self.state, self.topic, config=config, bootstrap=self.bootstrap)

    def _continue(self, state: Path) -> None:
        """Run a worker on a state directory until it has everything."""
        case, system = self._case(state), streamer_restore.SYSTEM

        def progress() -> int:
            # What grows meanwhile shows that it does not stand still.
            size_mib = 0
            for path in state.rglob("*.sst"):
                with suppress(FileNotFoundError):  # compacted away just now
                    size_mib += path.stat().st_size // _MIB
            return _running(system, case) * _WHOLE + min(size_mib, _WHOLE - 1)

        measure(
            lambda: start(system, case),
            progress=progress,
            total=self.changelog.partitions * _WHOLE,
        )
        assert len(list(databases(state))) == self.changelog.partitions

    def _case(self, state: Path | None = None) -> Case:
        return Case(
            bootstrap=self.bootstrap,
            application=self.application,
            source=f"{self.application}-events",
            target=f"{self.application}-results",
            state=state or Path(tempfile.mkdtemp(dir=self.places.root)),
            commit_ms=1_000,
            partitions=self.changelog.partitions,
        )


def _running(system: System, case: Case) -> int:
    return system.log(case).read_text(errors="replace").count(" runs: restored ")
