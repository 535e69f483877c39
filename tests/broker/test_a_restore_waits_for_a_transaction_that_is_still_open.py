from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.broker.changelogs import Changelog, changelog_of, contents, numbered, restoring


@pytest.mark.parametrize("commit", [True, False])
def test_a_restore_waits_for_a_transaction_that_is_still_open(
    kafka: Any, names: Any, tmp_path: Path, wait_until: Any, commit: bool
) -> None:
    """As when the last commit of the task's old owner has not reached this partition yet."""
    topic = names.topic("changelog")
    changelog_of(kafka.create, topic)
    log = Changelog(kafka.bootstrap_servers, topic)
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
