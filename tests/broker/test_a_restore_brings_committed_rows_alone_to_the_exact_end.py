from __future__ import annotations

from pathlib import Path
from typing import Any

from streamer.store.keys import row
from tests.broker.changelogs import contents, new_changelog, numbered, restoring


def test_a_restore_brings_committed_rows_alone_to_the_exact_end(
    kafka: Any, names: Any, tmp_path: Path
) -> None:
    log = new_changelog(kafka, names.topic("changelog"))
    log.write(numbered(range(100)))
    log.write(numbered(range(50, 200), b"aborted"), commit=False)
    log.write([(key, None) for key, _row in numbered(range(10))])
    log.write(numbered(range(90, 110), b"newer"))
    log.write(numbered(range(300), b"aborted"), commit=False)
    expected = dict(numbered(range(10, 90)) + numbered(range(90, 110), b"newer"))

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        count, database = tasks.restore(log.place)
        assert contents(database) == expected
        assert count == 100 + 10 + 20
        # Aborted records and the five markers are behind us as well.
        assert tasks.position() == 100 + 150 + 10 + 20 + 300 + 5

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        count, database = tasks.restore(log.place)
        assert count == 0, "the state was at the end"
        assert contents(database) == expected
        log.write([(b"k0000020", row(2, b"tail")), (b"k0000021", None)])
        count, database = tasks.restore(log.place)
        assert count == 2, "only what came since"
        del expected[b"k0000021"]
        assert contents(database) == expected | {b"k0000020": row(2, b"tail")}
