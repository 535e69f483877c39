from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from streamer.ids import TaskId
from tests.broker.changelogs import Restoring, contents, new_changelog, numbered, restoring

COUNT = 120_000


def test_a_rebalance_during_a_restore_loses_nothing(kafka: Any, names: Any, tmp_path: Path) -> None:
    """Cancelled several times, each time with the database closed and opened again."""
    log = new_changelog(kafka, names.topic("changelog"))
    for part in range(4):
        log.write(numbered(range(part * COUNT // 4, (part + 1) * COUNT // 4), bytes(100)))

    restored = 0
    positions = [0]
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        for share in (5, 3, 2):
            task = tasks.start(log.place)
            aim = COUNT // share - restored
            # It is over in a second, so there is no time to lose.
            while not past(tasks, task, aim):
                time.sleep(0.001)
            before_cancel = tasks.restorer.progress(task).restored_records
            tasks.restorer.cancel(task)
            assert tasks.restorer.finished() == []
            restored += before_cancel
            positions.append(tasks.position())
            assert len(contents(tasks.database())) >= restored
            tasks.close_database()
        assert positions == sorted(positions)
        assert 0 < positions[-1] < COUNT
        count, database = tasks.restore(log.place)
        assert contents(database) == dict(numbered(range(COUNT), bytes(100)))
        assert count < COUNT - restored + 10_000, "it went on where it had been cancelled"
        assert count + positions[-1] in range(COUNT, COUNT + 5)
        tasks.restorer.cancel(task)
        tasks.restorer.cancel(task)


def past(tasks: Restoring, task: TaskId, aim: int) -> bool:
    return tasks.restorer.progress(task).restored_records >= aim
