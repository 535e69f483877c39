"""`streamer drain` and `streamer rebalance` against running workers, as an operator gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamer.topology.partitioner import partition_of
from tests.broker import commands
from tests.broker.exact import assert_exact
from tests.broker.feeder import Feeder
from tests.broker.workers import Application, Worker

OUTPUTS = ("totals", "closed", "every")
BLOCK = 4_000
EVERY = {"0_0", "0_1", "0_2", "0_3"}


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 60}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def command(application: Application, *arguments: str) -> tuple[int, str, str]:
    where = ("--app", application.name, "--bootstrap-servers", application.kafka.bootstrap_servers)
    return commands.run(*arguments, *where)


def answer(application: Application, *arguments: str) -> Any:
    """What the command prints as JSON."""
    code, out, err = command(application, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def placed(application: Application) -> dict[str, tuple[str, ...]]:
    """The owner of each task and the keeper of its copy, as a plan names them."""
    tasks = answer(application, "show", "tasks")
    return {one["task"]: (one["worker"], *sorted(one["standbys"])) for one in tasks}


def is_even(application: Application) -> bool:
    return all(
        len(one.running()) == 2 and list(one.standbys().values()) == [0, 0]
        for one in application.workers
    )


@pytest.fixture
def made(application: Any, wait_until: Any) -> Application:
    """Two zones with a worker each, two tasks and two copies each, all of them warm."""
    found: Application = application("counts", outputs=OUTPUTS, partitions=4, standby_replicas=1)
    for zone in ("a", "b"):
        found.worker(zone, zone=f"az={zone}")
    wait_until(lambda: is_even(found), what="two tasks and two warm copies for each worker")
    return found


def test_what_is_drained_is_empty_and_a_plan_is_made_as_it_was_shown(
    made: Application, wait_until: Any
) -> None:
    first, second = made.workers
    produce(made, 0)
    made.wait_until_done(watch=made.workers)
    # Behind what is processed meanwhile a copy has yet to read the last commit.
    wait_until(lambda: is_even(made), what="copies that have all of it")
    drain_a_zone(made, wait_until)
    assert {one.restored for one in second.started().values()} <= {0}
    wait_until(lambda: is_even(made), what="tasks and copies in the zone again")

    drain_a_worker(made, wait_until)
    wait_until(lambda: is_even(made), what="tasks and copies at the worker again")

    written = have_a_plan_made(made, first, wait_until)
    produce(made, 1)
    made.wait_until_done(watch=made.workers)
    assert assert_exact(made).inputs == 2 * BLOCK + written


def drain_a_zone(made: Application, wait_until: Any) -> None:
    first, second = made.workers
    code, out, err = command(made, "drain", "--zone", "az=a")
    assert code == 0, err
    assert "drained: az=a" in out
    assert out.rstrip().endswith("done: the drained workers have let go of everything")
    assert "one_zone_left" in err or "zone" in err
    # That is what the worker itself says, so there is nothing to wait for.
    assert first.running() == set()
    assert first.standbys() == {}
    wait_until(lambda: second.running() == EVERY, what="all tasks in the other zone")
    assert {one.restored for one in second.started().values()} <= {0}
    code, out, err = command(made, "show", "moves")
    assert code == 0, err
    assert f"drained: {worker_id(made, 'a')}" in out

    code, out, err = command(made, "drain", "--zone", "az=b")
    assert code == 1, out
    assert "nobody else can have them" in err
    assert second.running() == EVERY
    # Stopped, it keeps all of it, and says so; what was emptied before stays empty.
    code, out, err = command(made, "rebalance", "stop")
    assert (code, err) == (0, "")
    assert "the drain of az=a, az=b is stopped: its workers keep what they have" in out
    code, out, err = command(made, "show", "moves")
    assert "to go on: streamer drain --zone az=a --zone az=b" in out, err
    assert (first.running(), second.running()) == (set(), EVERY)
    code, out, err = command(made, "drain", "--undo", "--zone", "az=a", "--zone", "az=b")
    assert code == 0, err


def drain_a_worker(made: Application, wait_until: Any) -> None:
    first, second = made.workers
    worker = worker_id(made, "b")
    code, out, err = command(made, "drain", "--worker", f"{worker}x")
    assert (code, out) == (2, "")
    assert f"there is no worker {worker}x" in err
    assert f"is {worker} meant?" in err
    code, out, err = command(made, "drain", "--worker", worker)
    assert code == 0, err
    assert f"drained: {worker}" in out
    wait_until(lambda: first.running() == EVERY, what="all tasks at the other worker")
    wait_until(lambda: not (second.running() or second.standbys()), what="an empty worker")
    moves = answer(made, "show", "moves")
    assert moves["draining"] == [worker]
    assert moves["idle"] == {worker: "is drained"}
    assert not moves.get("moves_left")
    assert {one["name"] for one in moves["modes"]} & {"one_worker_left", "one_zone_left"}
    code, out, err = command(made, "drain", "--undo", "--worker", worker)
    assert code == 0, err


def have_a_plan_made(made: Application, busy: Worker, wait_until: Any) -> int:
    """All that comes is for the tasks of one worker, so half of it is to go to the other. Returns
    how many records came."""
    hot = {int(task.partition("_")[2]) for task in busy.running()}
    with Feeder(made, rate=400) as feeder:
        feeder.keys = [key for key in feeder.keys if partition_of(key.encode(), 4) in hot]
        plan: dict[str, Any] = {}

        def is_there() -> bool:
            plan.clear()
            plan.update(answer(made, "rebalance", "plan"))
            return bool(plan.get("after"))

        before = placed(made)
        wait_until(is_there, what="a plan that is not empty")
        assert plan["spread_after"]["rate"] < plan["spread_before"]["rate"]
        assert {move["task"] for move in plan["moves"]} == plan["after"].keys()
        assert all(move["why"] for move in plan["moves"])
        code, out, err = command(made, "rebalance", "apply", "0123456789ab")
        assert (code, out) == (3, "")
        assert "no proposal 0123456789ab is known" in err
        assert "streamer rebalance plan" in err
        # Nobody moves anything before it is approved.
        assert placed(made) == before
        code, out, err = command(made, "rebalance", "apply", plan["id"])
        assert code == 0, err
        assert "done: no moves are left" in out
        wanted = before | {task: tuple(copies) for task, copies in plan["after"].items()}
        wait_until(lambda: placed(made) == wanted, what="the placement of the plan")
        # What was true of the placement when it was planned is so no more.
        code, out, err = command(made, "rebalance", "apply", plan["id"])
        assert code == 3
        assert "is not what it was" in err
        code, out, err = command(made, "rebalance", "stop")
        assert code == 0, err
        assert placed(made) == wanted
        return feeder.stop()


def worker_id(application: Application, host: str) -> str:
    workers = answer(application, "show", "workers")
    [found] = [one["worker"] for one in workers if one["host"] == host]
    return str(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "it is not said what to drain"),
        (("--zone", "eu-1"), "--zone 'eu-1' is not a tag"),
        (("--zone", "region=eu,az=1"), "is not a tag"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    application: Any, arguments: tuple[str, ...], message: str
) -> None:
    made = application("counts", outputs=OUTPUTS)
    code, _out, err = command(made, "drain", *arguments)
    assert code == 2
    assert message in err
