"""What scenarios about snapshots share: the command line, and the state in a snapshot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from streamer.config import Config
from streamer.ids import TaskId
from streamer.snapshot.adopt import adopt, staging_of
from streamer.snapshot.fetch import fetch
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.opening import open_repository
from streamer.snapshot.verified import verified
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store
from tests.broker import commands
from tests.broker.changelogs import contents
from tests.broker.workers import ROOT, Application

HEAD_BYTES = 9


class Snapshots:
    """The repository of an application, and `streamer snapshot` for it."""

    def __init__(self, application: Application, **settings: Any) -> None:
        """`settings` are those of the repository; its address may be the application's own."""
        self._application = application
        own: dict[str, Any] = {
            "snapshot_repository": application.settings.get("snapshot_repository", "")
        }
        self._settings = own | settings
        self.config = Config(
            application_id=application.name,
            bootstrap_servers=application.kafka.bootstrap_servers,
            **self._settings,
        )

    def command(self, *arguments: str) -> list[str]:
        """The arguments of a command about this repository."""
        return [
            *arguments,
            *("--app", self._application.name),
            *("--bootstrap-servers", self._application.kafka.bootstrap_servers),
            *(
                part
                for one in self._settings.items()
                for part in ("--set", "=".join(map(str, one)))
            ),
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`streamer snapshot` as a process."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMER_")}
        return subprocess.Popen(
            [sys.executable, "-m", "streamer.cli.main", *self.command("snapshot", *arguments)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Any:
        """What it prints as JSON."""
        return commands.answer(*self.command("snapshot", *arguments))

    def manifests(self) -> list[Manifest]:
        """All, by task and in the order in which they were made."""
        with open_repository(self.config) as place:
            shelves = place.shelves(self._application.name)
            return [each for shelf in shelves for each in shelf.manifests()]

    def notes(self) -> dict[str, str]:
        with open_repository(self.config) as place:
            shelves = place.shelves(self._application.name)
            return {stem: level for shelf in shelves for stem, level in verified(shelf).items()}

    def totals(self, manifest: Manifest, directory: Path) -> dict[str, tuple[int, int]]:
        """The store `totals` of a snapshot that is fetched, adopted and opened: no replay."""
        task = TaskId.parse(manifest.task)
        target = directory / str(task)
        with open_repository(self.config) as place:
            shelf = place.shelf(self._application.name, task)
            fetched = fetch(place, shelf, manifest.stem, staging=staging_of(target))
        adopt(fetched.directory, target, now_ms=1)
        pool = MemoryPool(8 << 20, 8 << 20)
        spec = Store("totals", str, int).spec()
        database = TaskDatabase.open(target, [spec], pool=pool, options={})
        try:
            rows = contents(database)
        finally:
            database.close()
        found = {key.decode(): json.loads(row[HEAD_BYTES:]) for key, row in rows.items()}
        return {key: (value["count"], value["sum"]) for key, value in found.items()}

    def expected(self, manifest: Manifest) -> dict[str, tuple[int, int]]:
        """A plain fold of the input up to the positions of the manifest."""
        ends = {(each.topic, each.partition): each.position for each in manifest.input}
        topic = self._application.topic("in")
        totals: dict[str, tuple[int, int]] = {}
        for record in self._application.kafka.read(topic):
            if record.offset < ends.get((topic, record.partition), 0):
                key = (record.key or b"").decode()
                count, total = totals.get(key, (0, 0))
                totals[key] = (count + 1, total + json.loads(record.value or b"0"))
        return totals


def ended(process: subprocess.Popen[str], *, timeout: float = 480.0) -> Any:
    """Wait for a command; what it printed as JSON."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, err = process.communicate(timeout=120)
        raise AssertionError(f"no end within {timeout} s:\n{out}\n{err}") from None
    assert process.returncode == 0, f"{out}\n{err}"
    return json.loads(out) if out.strip() else None
