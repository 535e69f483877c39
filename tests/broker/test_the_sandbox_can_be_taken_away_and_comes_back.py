"""What "broker away" tests stand on: a pause loses nothing, and a restart keeps port and data."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import OperationRefusedError, SandboxError
from streamer.sandbox import Sandbox
from streamer.sandbox.process import cluster_id
from tests.thorough import thorough


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with Sandbox(heap_mib=256, settings={"num.partitions": "3"}) as running:
        yield running


@pytest.fixture
def client(own: Sandbox, kafka: Any) -> Any:
    return type(kafka)(own.bootstrap_servers)


@thorough
def test_a_paused_broker_takes_connections_and_answers_nothing(
    own: Sandbox, client: Any, names: Any, wait_until: Any
) -> None:
    topic = names.topic("in")
    client.create(topic)
    client.produce(topic, [(str(i), "before") for i in range(100)])

    own.pause()
    try:
        assert own.is_running
        assert not cluster_id(own.port, timeout=0.5)
    finally:
        own.resume()

    wait_until(lambda: cluster_id(own.port))
    client.produce(topic, [(str(i), "after") for i in range(100)])
    assert len(client.read(topic)) == 200


@thorough
def test_a_restart_keeps_port_and_data(own: Sandbox, client: Any, names: Any) -> None:
    topic = names.topic("in")
    client.create(topic)
    client.produce(topic, [(str(i), "before") for i in range(100)])
    address, former = own.bootstrap_servers, own.pid

    own.shut()
    assert not own.is_running
    assert not cluster_id(own.port)
    own.restart()

    assert (own.bootstrap_servers, own.pid == former) == (address, False)
    assert len(client.read(topic)) == 100


def test_a_second_start_is_refused(own: Sandbox) -> None:
    with pytest.raises(OperationRefusedError, match="runs already"):
        own.start()


def test_temporary_data_goes_with_the_last_stop() -> None:
    sandbox = Sandbox(heap_mib=256).start()
    directory, port = sandbox.directory, sandbox.port
    assert (directory / "data" / "meta.properties").exists()

    before = time.monotonic()
    sandbox.stop()
    sandbox.stop()

    assert time.monotonic() - before < 15
    assert not directory.exists()
    assert not cluster_id(port)


def test_a_broker_that_does_not_start_shows_its_log() -> None:
    sandbox = Sandbox(settings={"log.retention.ms": "soon"})

    with pytest.raises(SandboxError, match=r"(?s)did not start.*log\.retention\.ms"):
        sandbox.start()

    assert not sandbox.is_running


@thorough
def test_a_given_port_that_is_busy_is_not_swapped_for_another(own: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"(?s)did not start.*in use"):
        Sandbox(port=own.port).start()

    assert cluster_id(own.port)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_the_broker_dies_with_a_killed_program(tmp_path: Path, wait_until: Any) -> None:
    program = (
        "import sys, time; from streamer.sandbox import Sandbox\n"
        "sandbox = Sandbox(sys.argv[1], heap_mib=256).start()\n"
        "print(sandbox.port, sandbox.pid, flush=True)\n"
        "time.sleep(100)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, pid = map(int, parent.stdout.readline().split())
        assert cluster_id(port)
        parent.send_signal(signal.SIGKILL)

    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the broker")
    assert not cluster_id(port)
