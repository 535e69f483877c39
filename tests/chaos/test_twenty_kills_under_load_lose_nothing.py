"""SIGKILL at random moments, of one of two busy workers or of both, twenty times.

`STREAMER_CHAOS_SEED` repeats the choices of a run; now and then a killed worker loses its disk.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.workers import Application, Worker

PARTITIONS = 4
KILLS = 20
PAUSE_S = (0.2, 12.0)
BOTH, LOSES_DISK = 0.15, 0.15


class Pair:
    """Two workers on two disks; the one that is killed is started again at once."""

    def __init__(self, application: Application, chance: random.Random) -> None:
        self._application = application
        self._chance = chance
        self.workers: dict[str, Worker] = {host: application.worker(host) for host in "ab"}

    def kill(self) -> str:
        """What was done."""
        chance = self._chance
        hosts = ["a", "b"] if chance.random() < BOTH else [chance.choice("ab")]
        loses_disk = chance.random() < LOSES_DISK
        for host in hosts:
            assert self.workers[host].is_alive, self.workers[host].tail()
            self.workers[host].kill()
        if loses_disk:
            shutil.rmtree(self._application.state_dir(hosts[0]))
        for host in hosts:
            self.workers[host] = self._application.worker(host)
        return f"{' and '.join(hosts)}{', disk lost' if loses_disk else ''}"


def wait(seconds: float, workers: list[Worker]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for worker in workers:
            assert worker.is_alive, worker.tail()
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_the_history_is_exact(application: Any, wait_until: Callable[..., None]) -> None:
    seed = int(os.environ.get("STREAMER_CHAOS_SEED", time.time_ns() % 1_000_000))
    print(f"STREAMER_CHAOS_SEED={seed}")
    chance = random.Random(seed)
    made: Application = application("counts", outputs=OUTPUTS, partitions=PARTITIONS)
    began = time.monotonic()
    with Feeder(made, rate=600, keys=200) as feeder:
        pair = Pair(made, chance)
        for number in range(KILLS):
            wait(chance.uniform(*PAUSE_S), list(pair.workers.values()))
            print(f"{time.monotonic() - began:6.1f} s: kill {number + 1}: {pair.kill()}")
        written = feeder.stop()
    workers = list(pair.workers.values())
    made.wait_until_done(timeout=90, watch=workers)

    verdict = assert_exact(made)
    print(verdict)
    assert verdict.inputs == written
    assert [worker.stop() for worker in workers] == [0, 0]
