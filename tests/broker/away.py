"""A broker is taken away under two busy workers and comes back; see the scenarios for how long."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.workers import Application, Worker

PARTITIONS = 4
# Until a broker that came back has written the ends of all transactions.
RECOVERED_S = 60.0
Seen = dict[str, set[tuple[int, int]]]


def running(worker: Worker) -> set[str]:
    return {task for task, about in worker.tasks().items() if about["state"] == "running"}


def start_two(application: Application, wait_until: Callable[..., None]) -> list[Worker]:
    """Two workers with half of the tasks each."""
    first = application.worker("a")
    first.wait_started(PARTITIONS)
    workers = [first, application.worker("b")]
    wait_until(
        lambda: [len(running(one)) for one in workers] == [PARTITIONS // 2] * 2,
        what="half of the tasks for each worker",
    )
    return workers


def outlive(
    application: Callable[..., Application],
    take_away: Callable[[], None],
    bring_back: Callable[[], object],
    *,
    away_s: float,
    wait_until: Callable[..., None],
    **settings: Any,
) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=PARTITIONS, **settings)
    workers = start_two(made, wait_until)
    with Feeder(made) as feeder:
        wait_until(lambda: all(one.processed() > 1_000 for one in workers), what="some progress")
        take_away()
        seen = _watch(workers, feeder.keys[:8], time.monotonic() + away_s)
        _assert_copies(workers, feeder.keys[:8])
        bring_back()
        wait_until(
            lambda: all(is_owners(one, feeder.keys[0]) for one in workers),
            what="answers of owners again",
        )
        back_at = [one.processed() for one in workers]
        feeder.stop()
    made.wait_until_done(watch=workers, timeout=480)

    assert sum(one.processed() for one in workers) > sum(back_at)
    assert running(workers[0]) | running(workers[1]) == {f"0_{n}" for n in range(PARTITIONS)}
    assert_exact(made, held_up_s=RECOVERED_S)
    _assert_committed(made, seen)
    assert [one.stop() for one in workers] == [0, 0]


def _watch(workers: Iterable[Worker], keys: list[str], until: float) -> Seen:
    """Ask until then; every answer must be that of a living worker."""
    seen: Seen = defaultdict(set)
    while time.monotonic() < until:
        for worker in workers:
            assert _asked(worker, "/healthz") == {"is_live": True, "reasons": []}
            for key in keys:
                answer = _asked(worker, f"/stores/totals/{key}")
                if answer is not None:
                    seen[key].add((answer["value"]["count"], answer["value"]["sum"]))
        time.sleep(0.2)
    assert seen.keys() == set(keys), "not every key was answered"
    return seen


def _assert_copies(workers: Iterable[Worker], keys: list[str]) -> None:
    """Nobody hears of an owner any more, so each answers as a copy or, asked for the owner, not."""
    for worker in workers:
        for key in keys:
            told = _asked(worker, f"/stores/totals/{key}")
            assert told is None or (told["role"] == "standby" and told["age_ms"] > 0), told
            assert _asked(worker, f"/stores/totals/{key}?max_lag=0") is None


def is_owners(worker: Worker, key: str) -> bool:
    told = _asked(worker, f"/stores/totals/{key}?max_lag=0")
    return told is not None and "role" not in told


def _asked(worker: Worker, path: str) -> Any:
    try:
        return worker.get(path)
    except HTTPError as error:
        # Between two owners: the worker says so, and answers nothing that is not true.
        if error.code not in (404, 503):
            raise
        return None
    except (URLError, HTTPException, ConnectionError):
        raise AssertionError(f"it ended with {worker.wait()}:\n{worker.tail()}") from None


def _assert_committed(made: Application, seen: Seen) -> None:
    """Every value that was answered is one that a commit has made known."""
    committed: Seen = defaultdict(set)
    for record in made.kafka.read(made.topic("totals")):
        row = json.loads(record.value or b"{}")
        committed[(record.key or b"").decode()].add((row["count"], row["sum"]))
    for key, values in seen.items():
        assert values <= committed[key], key
