from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.broker.changelogs import contents, new_changelog, numbered, restoring
from tests.thorough import thorough_but

COUNT = 150_000
ROOT = Path(__file__).parents[2]

# The budget is so small that the rows of a bulk restore go to the disk in several parts.
RUN = """
import sys
from pathlib import Path
from streamer.ids import TopicPartition
from tests.broker.changelogs import restoring
from tests.thorough import thorough_but

with restoring(sys.argv[1], Path(sys.argv[2]), memory_bytes_max=128 << 20) as tasks:
    tasks.restorer.beside_processing = sys.argv[4] == "beside"
    count, _database = tasks.restore(TopicPartition(sys.argv[3], 0))
    print(count)
"""


def run(kafka: Any, directory: Path, topic: str, *, failpoint: str = "", pace: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", RUN, kafka.bootstrap_servers, str(directory), topic, pace],
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
        cwd=ROOT,
        env={**os.environ, "STREAMER_FAILPOINTS": failpoint},
    )


@pytest.mark.parametrize("pace", thorough_but(["beside"], ["alone", "beside"]))
def test_a_restore_that_is_killed_goes_on_where_it_was_saved(
    kafka: Any, names: Any, tmp_path: Path, pace: str
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(COUNT), bytes(700)))
    log.write([(key, None) for key, _row in numbered(range(0, COUNT, 10))])
    expected = dict(numbered((n for n in range(COUNT) if n % 10), bytes(700)))

    last = 0
    for failpoint in (
        "restore.before_batch=kill",
        "restore.after_batch=kill",
        "restore.before_batch=kill@2",
        "commit.between_store_chunks=kill",
        "restore.before_ready=kill",
    ):
        killed = run(kafka, tmp_path, topic, failpoint=failpoint, pace=pace)
        finished_first = failpoint.startswith("commit") and killed.returncode == 0
        assert killed.returncode == -9 or finished_first, killed.stderr
        with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
            position, rows = tasks.position(), contents(tasks.database())
        assert last <= position <= COUNT * 11 // 10 + 2
        covered = dict(numbered(range(min(position, COUNT)), bytes(700)))
        removed = {key for key in covered if int(key[1:]) % 10 == 0}
        assert (covered.keys() - removed) <= rows.keys(), "rows are never behind the position"
        last = position

    finished = run(kafka, tmp_path, topic, pace=pace)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) == 0, "all was saved before the last kill"
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        assert contents(tasks.database()) == expected
