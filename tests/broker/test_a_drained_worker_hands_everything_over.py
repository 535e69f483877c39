"""`streamer drain` and `streamer rebalance` against running workers, as an operator gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.broker import commands
from tests.broker.expected import check
from tests.broker.workers import Application

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


@pytest.fixture
def made(application: Any, wait_until: Any) -> Application:
    """Two zones with a worker each, two tasks and two copies each, all of them warm."""
    found: Application = application("counts", outputs=OUTPUTS, partitions=4, standby_replicas=1)
    for zone in ("a", "b"):
        found.worker(zone, zone=f"az={zone}")
    wait_until(
        lambda: all(
            len(one.running()) == 2 and list(one.standbys().values()) == [0, 0]
            for one in found.workers
        ),
        what="two tasks and two warm copies for each worker",
    )
    return found


def test_a_zone_is_drained_and_filled_again(made: Application, wait_until: Any) -> None:
    first, second = made.workers
    produce(made, 0)
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
    code, out, err = command(made, "drain", "--undo", "--zone", "az=a", "--zone", "az=b")
    assert code == 0, err
    wait_until(lambda: len(first.running()) == 2, what="tasks in the zone again")
    produce(made, 1)
    made.wait_until_done(watch=made.workers)
    check(made)


def worker_id(application: Application, host: str) -> str:
    code, out, err = command(application, "show", "workers", "--json")
    assert code == 0, err
    [found] = [one["worker"] for one in json.loads(out) if one["host"] == host]
    return str(found)


def test_a_plan_is_shown_and_only_that_plan_can_be_applied(made: Application) -> None:
    code, out, err = command(made, "rebalance", "plan", "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert not plan.get("after")
    code, out, err = command(made, "rebalance", "apply", "0123456789ab")
    assert (code, out) == (3, "")
    assert "no proposal 0123456789ab is known" in err
    assert "streamer rebalance plan" in err
    code, out, err = command(made, "rebalance", "apply", plan["id"])
    assert code == 0, err
    assert "done: no moves are left" in out
    code, out, err = command(made, "rebalance", "stop")
    assert code == 0, err


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
