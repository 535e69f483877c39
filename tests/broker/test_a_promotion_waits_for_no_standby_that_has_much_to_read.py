from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from streamer import failpoints
from tests.broker.changelogs import Changelog, changelog_of, contents, numbered, restoring

LARGE = 300_000


def test_a_promotion_waits_for_no_standby_that_has_much_to_read(
    kafka: Any, names: Any, tmp_path: Path
) -> None:
    topic = names.topic("changelog")
    changelog_of(kafka.create, topic, 2)
    large = Changelog(kafka.bootstrap_servers, topic, 0)
    large.write(numbered(range(LARGE), bytes(200)))
    small = Changelog(kafka.bootstrap_servers, topic, 1)
    small.write(numbered(range(5_000)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        tasks.follow_to_the_end(small.place, 1)
        behind = tasks.follow(large.place, 0)
        while not tasks.restorer.progress(behind).restored_records:
            time.sleep(0.001)
        small.write(numbered(range(5_000, 10_000)))
        lags: list[int | None] = []
        # Asked by the thread that restores, at that moment.
        with failpoints.armed(
            "restore.before_ready", lambda: lags.append(tasks.restorer.lag(behind))
        ):
            tasks.promote(1)
        [lag] = lags
        assert lag, "the other one has not come to its end"
        assert contents(tasks.database(1)) == dict(numbered(range(10_000)))
        # Nor does it stand still meanwhile.
        tasks.wait_caught_up(behind)
        assert tasks.promote(0) == 0
        assert len(contents(tasks.database(0))) == LARGE
