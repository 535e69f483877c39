"""Whatever the workers are and know: nobody is told more than is true, nor refused needlessly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from streamer.http.server import Server
from streamer.http.serving import Rows
from streamer.ids import TaskId
from streamer.store.rocks import TaskDatabase
from streamer.topology.app import App
from tests.hurry import examples
from tests.unit.http.conftest import Worker

TASK = TaskId(0, 0)
NOWHERE = "127.0.0.1:9"
ACCEPTABLE = 10


@dataclass(frozen=True)
class Role:
    """What a worker is to the task; `told` is the lag that it spoke of, None if it never did."""

    state: str = ""
    lag: int | None = None
    told: int | None = None


Workers = list[tuple[Worker, Rows]]

LAGS = some.none() | some.integers(0, 20)
STANDBYS = some.builds(Role, some.just("standby"), LAGS, LAGS)
OWNERS = some.sampled_from(["running", "restoring"]).flatmap(
    lambda state: some.builds(Role, some.just(state), LAGS, some.none())
)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """The one that is asked, and two others; they change their roles with each example."""
    app = App("spend")
    app.table("customers", key=str, value=str, store="totals")
    topology = app.topology()
    found = []
    for number in range(3):
        worker = Worker(topology, tmp_path_factory.mktemp("worker"), acceptable_lag=ACCEPTABLE)
        worker.server = Server(worker, "127.0.0.1", 0)
        worker.server.start()
        worker.open(0)
        worker.put("totals", {b"ann": (1, b"%d" % number)})
        found.append(worker)
    databases = [worker.served[TASK].database for worker in found]
    yield list(zip(found, databases, strict=True))
    for worker, database in zip(found, databases, strict=True):
        assert worker.server is not None
        assert isinstance(database, TaskDatabase)
        worker.server.close()
        database.close()


def take(worker: Worker, database: Rows, role: Role) -> None:
    worker.served.clear()
    if not role.state:
        return
    is_standby = role.state == "standby"
    lag = role.lag if is_standby else 0
    copy_lag = role.lag if role.state == "restoring" else None
    worker.serve(TASK, database, state=role.state, lag=lag, copy_lag=copy_lag)


@given(
    asked=some.just(Role()) | STANDBYS,
    roles=some.tuples(some.just(Role()) | STANDBYS | OWNERS, some.just(Role()) | STANDBYS),
    owner=some.sampled_from(["unknown", "gone", "first", "second"]),
    max_lag=some.none() | some.integers(0, 20),
    is_silent=some.booleans(),
)
@example(Role(), (Role("running"), Role("standby", 0, 0)), "first", None, False)
@example(Role("standby", 0), (Role("running"), Role()), "first", 0, True)
@settings(max_examples=examples(120), deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_old_as_they_say_and_errors_mean_that_nobody_could(
    workers: Workers,
    asked: Role,
    roles: tuple[Role, Role],
    owner: str,
    max_lag: int | None,
    is_silent: bool,
) -> None:
    every = [asked, *roles]
    for (worker, database), role in zip(workers, every, strict=True):
        take(worker, database, role)
    first, *others = [worker for worker, _database in workers]
    homes = ["", *(worker.address for worker in others)]
    addresses = {"first": homes[1], "second": homes[2], "gone": NOWHERE}
    first.owners = {TASK: addresses[owner]} if owner in addresses else {}
    told = [(homes[number], every[number].told) for number in (1, 2)]
    first.copies = {TASK: [(address, lag) for address, lag in told if lag is not None]}
    assert first.server is not None
    silence = first.server._forwarder.silence
    silence._until.clear()
    if is_silent and owner in addresses:
        silence.failed(addresses[owner])

    limit = ACCEPTABLE if max_lag is None else max_lag or None
    query = "" if max_lag is None else f"?max_lag={max_lag}"
    reply = first.get(f"/stores/totals/ann{query}")
    many = first.post(f"/stores/totals{query}", {"keys": ["ann"]})

    def allows(lag: int | None) -> bool:
        return lag is not None and limit is not None and lag <= limit

    def may_answer(number: int) -> bool:
        role = every[number]
        is_owner = addresses.get(owner) == homes[number]
        is_asked = number == 0 or is_owner or allows(role.told)
        if role.state != "standby":
            return is_asked and (role.state == "running" or allows(role.lag))
        # As the owner it is not asked for a copy, unless the client takes any.
        is_asked = number == 0 or allows(role.told) or (is_owner and max_lag is not None)
        return is_asked and allows(role.lag)

    could = {str(number) for number in range(3) if every[number].state and may_answer(number)}
    assert (reply.status == 200) == bool(could), (reply.body, could)
    assert reply.status == many.status
    if reply.status != 200:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        return
    for row, headers in ((reply.json, reply.headers), (many.json["rows"][0], many.headers)):
        assert row["value"] in could
        role = every[int(row["value"])]
        if role.state == "running":
            assert "role" not in row
            assert "Streamer-Role" not in headers
            continue
        assert limit is not None
        assert (row["role"], row["lag_records"]) == ("standby", role.lag)
        assert headers["Streamer-Lag"] == str(role.lag)
        # A copy only answers for an owner that is not known to be well.
        knows_owner = owner in ("first", "second") and not is_silent
        runs = knows_owner and every[1 if owner == "first" else 2].state == "running"
        assert max_lag is not None or not runs
