from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.broker.changelogs import contents, new_changelog, numbered, restoring


@pytest.mark.parametrize("commit", [True, False])
def test_a_restore_waits_for_a_transaction_that_is_still_open(
    kafka: Any, names: Any, tmp_path: Path, wait_until: Any, commit: bool
) -> None:
    """As when the last commit of the task's old owner has not reached this partition yet."""
    log = new_changelog(kafka, names.topic("changelog"))
    log.write(numbered(range(100)))
    log.begin(numbered(range(100, 150)))

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.start(log.place)
        progress = tasks.restorer.progress
        wait_until(lambda: progress(task).restored_records == 100, what="the readable part")
        time.sleep(0.5)
        assert tasks.restorer.finished() == []
        assert progress(task).remaining_offsets == 50

        log.end(commit=commit)
        assert tasks.wait(task) == {task: None}
        assert progress(task).remaining_offsets == 0
        assert contents(tasks.database()) == dict(numbered(range(150 if commit else 100)))
