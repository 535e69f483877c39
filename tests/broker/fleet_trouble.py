"""Trouble for workers in three zones with a copy of each task: kills, freezes, lost zones.

All choices come from one seed, so a run can be repeated as far as the machine allows. Under a load
that does not stop; the history checker has the last word.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.workers import Application, Worker

ZONES = "abc"
PARTITIONS = 6
# Past its session a frozen worker is fenced; a moment more and others have its tasks.
FROZEN_S = (3.0, 8.0)
DOWN_S = (0.0, 6.0)


class Fleet:
    """One worker in each zone. `trouble` does one thing and says what."""

    def __init__(self, application: Application, chance: random.Random) -> None:
        self._application = application
        self._chance = chance
        self.workers = {zone: self._start(zone) for zone in ZONES}

    def _start(self, zone: str) -> Worker:
        return self._application.worker(zone, zone=f"region=r,az={zone}")

    def trouble(self) -> str:
        kinds = (self._kill, self._kill, self._restart, self._freeze, self._lose_zone)
        return self._chance.choice(kinds)(self._chance.choice(ZONES))

    def _kill(self, zone: str) -> str:
        self.workers[zone].kill()
        self.workers[zone] = self._start(zone)
        return f"{zone} killed"

    def _restart(self, zone: str) -> str:
        code = self.workers[zone].stop()
        # One that has not yet said a word may not have come to handling signals.
        is_new = not self.workers[zone].text and code == -signal.SIGTERM
        assert code == 0 or is_new, self.workers[zone].tail()
        self.workers[zone] = self._start(zone)
        return f"{zone} restarted"

    def _freeze(self, zone: str) -> str:
        seconds = self._chance.uniform(*FROZEN_S)
        self.workers[zone].send(signal.SIGSTOP)
        time.sleep(seconds)
        self.workers[zone].send(signal.SIGCONT)
        return f"{zone} frozen for {seconds:.1f} s"

    def _lose_zone(self, zone: str) -> str:
        """Its worker dies and its disk with it; the zone is back some time later."""
        self.workers[zone].kill()
        directory = self._application.state_dir(zone)
        if directory.exists():  # A worker that was lost before it had one.
            shutil.rmtree(directory)
        seconds = self._chance.uniform(*DOWN_S)
        time.sleep(seconds)
        self.workers[zone] = self._start(zone)
        return f"{zone} lost with its disk, back after {seconds:.1f} s"

    def check(self) -> None:
        for worker in self.workers.values():
            assert worker.is_alive, worker.tail()


def outlive(
    application: Any, wait_until: Callable[..., None], *, seconds: float, pause_s: float
) -> None:
    """Trouble for so long, with a pause of `pause_s` on average, then the verdict."""
    seed = int(os.environ.get("STREAMER_CHAOS_SEED", time.time_ns() % 1_000_000))
    print(f"STREAMER_CHAOS_SEED={seed}")
    chance = random.Random(seed)
    made: Application = application(
        "counts", outputs=OUTPUTS, partitions=PARTITIONS, standby_replicas=1
    )
    began = time.monotonic()
    with Feeder(made, rate=400, keys=200) as feeder:
        fleet = Fleet(made, chance)
        for worker in fleet.workers.values():
            worker.wait_for("queries, health and metrics at")
        while time.monotonic() - began < seconds:
            until = time.monotonic() + chance.expovariate(1 / pause_s)
            while time.monotonic() < until:
                fleet.check()
                time.sleep(0.05)
            print(f"{time.monotonic() - began:6.1f} s: {fleet.trouble()}")
        written = feeder.stop()
    workers = list(fleet.workers.values())
    made.wait_until_done(watch=workers)
    verdict = assert_exact(made)
    print(verdict)
    assert verdict.inputs == written

    def is_whole() -> bool:
        copies = [task for worker in workers for task in worker.standbys()]
        owned = [task for worker in workers for task in worker.running()]
        return len(set(owned)) == len(owned) == len(set(copies)) == len(copies) == PARTITIONS

    wait_until(is_whole, what="an owner and a copy for every task")
    assert [worker.stop() for worker in workers] == [0, 0, 0]
