"""A task with an owner and copies, for tests of who answers for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from streamer.ids import TaskId
from streamer.topology.app import App
from tests.unit.http.conftest import Reply, Start, Worker

TASK = TaskId(0, 0)
NOWHERE = "127.0.0.1:9"


@dataclass
class Group:
    """The owner of the only task, a worker `far` that may keep a copy, and the one that is asked,
    which may keep one too. The value of every key is who answers."""

    asked: Worker
    owner: Worker
    far: Worker

    def keep(self, worker: Worker, lag: int | None, **more: Any) -> None:
        """Have a worker keep a copy, of which the one that is asked knows."""
        self.serve(worker, "standby", lag, **more)
        if worker is not self.asked and lag is not None:
            self.asked.copies.setdefault(TASK, []).append((worker.address, lag))

    def serve(self, worker: Worker, state: str, lag: int | None, **more: Any) -> None:
        if TASK not in worker.served:
            worker.open(0)
            name = next(name for name, each in vars(self).items() if each is worker)
            worker.put("totals", {b"ann": (1, name.encode())})
        worker.serve(TASK, worker.served[TASK].database, state=state, lag=lag, **more)

    def ask(self, query: str = "") -> Reply:
        return self.asked.get(f"/stores/totals/ann{query}")


@pytest.fixture
def group(start: Start) -> Group:
    app = App("spend")
    app.table("customers", key=str, value=str, store="totals")
    topology = app.topology()
    found = Group(start(topology), start(topology), start(topology))
    found.serve(found.owner, "running", 2)
    found.asked.owners[TASK] = found.owner.address
    return found


def is_from(reply: Reply, value: str, lag: int | None = None) -> bool:
    """Whether an answer is from this worker: from a copy with this lag, or from the owner."""
    assert reply.status == 200, reply.body
    row = reply.json
    if lag is None:
        assert "role" not in row
        assert "Streamer-Role" not in reply.headers
    else:
        assert (row["role"], row["lag_records"], row["task"]) == ("standby", lag, "0_0")
        assert reply.headers["Streamer-Role"] == "standby"
        assert reply.headers["Streamer-Lag"] == str(lag)
    return bool(row["value"] == value)
