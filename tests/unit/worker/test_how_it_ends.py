from __future__ import annotations

from streamer.errors import ProcessingError, TopologyError
from streamer.worker.worker import _ended_by


def test_a_worker_that_has_run_does_not_end_as_one_that_refuses_to_start() -> None:
    failure = TopologyError("store 's': the value of key b'k' is not json:New", hint="mend it")
    ended = _ended_by(failure)
    assert failure.exit_code == 2
    assert ended.exit_code == 1
    assert ended.describe() == failure.describe()
    assert ended.__cause__ is failure


def test_what_ends_a_worker_is_told_as_it_is() -> None:
    failure = ProcessingError("no", topic="in", partition=0, offset=3, key=b"k")
    assert _ended_by(failure) is failure
