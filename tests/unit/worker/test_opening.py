"""A task whose state cannot be read is told by name, and its database can be opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamer import App
from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.errors import StateDirectoryError
from streamer.ids import TaskId, TopicPartition
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.task.build import Plan
from streamer.topology.partitions import partitions
from streamer.worker.opening import open_task

TASK = TaskId(0, 0)
IN = TopicPartition("in", 0)


def test_positions_of_an_unknown_format_are_refused_and_the_database_is_closed(
    tmp_path: Path,
) -> None:
    app = App("app")
    app.stream("in", key=str, value=int).group_by_key().count(store="counts")
    topology = app.topology()
    nowhere: Any = None
    plan = Plan(
        topology=topology,
        config=Config(application_id="app", state_dir=tmp_path),
        output=nowhere,
        wall_time_ms=lambda: 7,
        cache_bytes=1,
    )
    pool = MemoryPool(1 << 20, 1 << 20)
    known = Positions(inputs={IN: 5}).encode()
    with WorkerDirectory.open(tmp_path, "app") as directory:

        def write(positions: dict[str, bytes]) -> None:
            path = directory.task(TASK)
            database = TaskDatabase.open(path, topology.stores, pool=pool, options={})
            database.write({}, positions)
            database.close()

        def opened() -> Positions:
            planned = partitions(topology, {"in": 1})
            active, stored = open_task(TASK, plan, planned, directory=directory, pool=pool)
            active.database.close()
            return stored

        write({name: b"\x63" + value[1:] for name, value in known.items()})
        with pytest.raises(StateDirectoryError, match="input/in/0 has an unknown format"):
            opened()
        write(known)
        assert opened().inputs == {IN: 5}
