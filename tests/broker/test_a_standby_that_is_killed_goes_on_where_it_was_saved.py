from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.broker.changelogs import contents, new_changelog, numbered, restoring

ROOT = Path(__file__).parents[2]

RUN = """
import sys, time
from pathlib import Path
from streamer.ids import TopicPartition
from tests.broker.changelogs import restoring

with restoring(sys.argv[1], Path(sys.argv[2])) as tasks:
    task = tasks.follow(TopicPartition(sys.argv[3], 0))
    while True:
        assert tasks.restorer.finished() == []
        print(tasks.restorer.lag(task), flush=True)
        time.sleep(0.05)
"""


@contextmanager
def following(
    kafka: Any, directory: Path, topic: str, failpoint: str
) -> Iterator[subprocess.Popen[str]]:
    standby = subprocess.Popen(
        [sys.executable, "-c", RUN, kafka.bootstrap_servers, str(directory), topic],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "STREAMER_FAILPOINTS": failpoint},
    )
    try:
        yield standby
    finally:
        standby.kill()
        standby.wait(240)


def test_a_standby_that_is_killed_goes_on_where_it_was_saved(
    kafka: Any, names: Any, tmp_path: Path
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    expected: dict[bytes, bytes | None] = {}
    written = last = 0
    for failpoint in (
        "restore.before_batch=kill@2",
        "restore.after_batch=kill@2",
        "commit.between_store_chunks=kill",
        "restore.before_batch=kill@3",
    ):
        with following(kafka, tmp_path, topic, failpoint) as standby:
            deadline = time.monotonic() + 360
            while standby.poll() is None and time.monotonic() < deadline:
                # The large ones go to the disk in more than one piece.
                count = 25_000 if failpoint.startswith("commit") else 500
                changes = numbered(range(written, written + count), b"%d" % written)
                log.write(numbered(range(written), b"aborted")[:200], commit=False)
                log.write(changes)
                expected |= dict(changes)
                written += count // 2
                time.sleep(0.3)
            assert standby.poll() == -9
        with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
            position = tasks.position()
            assert position >= last
            last = position
    assert last > 0

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        followed = tasks.restorer.progress(task).restored_records
        assert tasks.promote() == 0
        assert contents(tasks.database()) == expected
    with restoring(kafka.bootstrap_servers, tmp_path / "whole") as tasks:
        count, database = tasks.restore(log.place)
        assert contents(database) == expected
        assert followed < count, "what was saved was not read again"
