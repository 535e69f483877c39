"""`streamer rebuild --from active` between two hosts that share neither a disk nor a loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.conftest import Kafka
from tests.broker.hosts import SSH_PORT, Host, Hosts, missing
from tests.broker.restorable import contents
from tests.broker.test_a_copy_is_pulled_from_the_disk_of_its_active import (
    OUTPUTS,
    ended,
    produce,
    start,
)
from tests.broker.workers import Application, Worker
from tests.thorough import thorough


@pytest.fixture
def hosts(kafka: Kafka, tmp_path: Path) -> Iterator[Hosts]:
    name, _, port = kafka.bootstrap_servers.partition(":")
    if name != "127.0.0.1":
        pytest.skip(f"the broker {kafka.bootstrap_servers} is not on loopback")
    if reason := missing():
        pytest.skip(f"{reason}, so nothing was tried between hosts")
    with Hosts(int(port), tmp_path / "disk") as made:
        yield made


@pytest.fixture
def made(application: Any, hosts: Hosts) -> Application:
    export = hosts.path / "export"
    one: Application = application(
        "counts",
        outputs=OUTPUTS,
        partitions=1,
        standby_replicas=1,
        state_dir=hosts.path / "state",
        snapshot_export_dir=export,
        snapshot_export_address=f"ssh://{hosts.user}@{{host}}:{SSH_PORT}{export}",
        snapshot_ssh_key=hosts.key_file,
        snapshot_ssh_known_hosts=hosts.known_hosts,
    )
    for host in hosts.hosts:
        one.inside[host.address] = host.inside
        # Where the test, which is on no host, finds what lies on that one's disk.
        one.state_dir(host.address).symlink_to(host.disk / "state")
    return one


def tasks(host: Host, worker: Worker, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = host.ask(f"{worker.address}/tasks").get(kind, {})
    return found


def keeper_of(
    at: dict[str, Host], workers: dict[str, Worker], wait_until: Callable[..., None]
) -> str:
    """The address of the worker with the copy of the task, once only one of them has a copy: both
    have where it is about to move."""
    found: list[str] = []

    def is_shared() -> bool:
        found[:] = [one for one in at if "0_0" in tasks(at[one], workers[one], "standbys")]
        return len(found) == 1

    wait_until(is_shared, what="a copy of the task")
    return found[0]


def test_it_comes_over_the_cable_from_the_disk_of_the_other_one(
    made: Application, hosts: Hosts, wait_until: Callable[..., None]
) -> None:
    produce(made, 0)
    workers = {
        host.address: made.worker(host.address, worker_id=f"w{number}")
        for number, host in enumerate(hosts.hosts, 1)
    }
    at = {host.address: host for host in hosts.hosts}
    keeper = keeper_of(at, workers, wait_until)
    [active] = at.keys() - {keeper}
    made.wait_until_done(watch=workers.values())

    code, said = ended(start(made, "rebuild", "--task", "0_0", "--from", "active"))
    assert code == 0, said + "".join(worker.tail(30) for worker in workers.values())
    assert f"of ssh://{hosts.user}@[{active}]:{SSH_PORT}" in said
    workers[keeper].wait_for("task 0_0: restored from snapshot 0000000001-")
    # It was made on the active's disk, and the other one has never had such a directory.
    assert list((at[active].disk / "export").glob("applications/*/layout-1/0_0/snapshots/*"))
    assert not (at[keeper].disk / "export").exists()

    produce(made, 1)
    made.wait_until_done(watch=workers.values())
    assert workers[active].stop() == 0
    workers[keeper].wait_started(1)
    assert workers[keeper].stop() == 0
    one, other = (contents(made, address)["0_0"] for address in (active, keeper))
    assert one == other


@thorough
def test_a_cable_that_is_pulled_meanwhile_is_waited_for(
    made: Application, hosts: Hosts, wait_until: Callable[..., None]
) -> None:
    """As between two rooms: nothing answers, and nothing refuses."""
    produce(made, 0)
    workers = {
        host.address: made.worker(
            host.address,
            worker_id=f"w{number}",
            failpoints="fetch.after_file=sleep:300",
            snapshot_parallel_transfers=1,
        )
        for number, host in enumerate(hosts.hosts, 1)
    }
    at = {host.address: host for host in hosts.hosts}

    keeper = keeper_of(at, workers, wait_until)
    made.wait_until_done(watch=workers.values())
    command = start(made, "rebuild", "--task", "0_0", "--from", "active")
    staged = at[keeper].disk / "state" / made.name / "worker-0" / "tasks" / "0_0.restore"
    wait_until(lambda: list(staged.glob("files/*")), what="the first file")
    at[keeper].run("ip", "link", "set", "cable", "down")
    produce(made, 1)
    made.wait_until_done(watch=workers.values())
    at[keeper].run("ip", "link", "set", "cable", "up")
    code, said = ended(command, timeout=400)
    assert code == 0, said + "".join(worker.tail(30) for worker in workers.values())
    assert [worker.stop() for worker in workers.values()] == [0, 0]
