from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.errors import SandboxError
from streamer.sandbox.process import ServerProcess, cluster_id, tail, wait_until_it_answers

PYTHON = sys.executable


def start(program: str, log: Path, bound: signal.Signals | None = None) -> ServerProcess:
    process = ServerProcess([PYTHON, "-c", program], log=log, dies_with_parent=bound)
    process.start()
    return process


def wait_until(is_true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 240
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true()


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_output_of_both_kinds_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start("import sys; print('out', flush=True); print('err', file=sys.stderr)", log)

    assert wait_until(lambda: process.exit_status == 0)
    assert log.read_text() == "out\nerr\n"


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    process = ServerProcess(["/nowhere/java"], log=tmp_path / "log", dies_with_parent=None)
    with pytest.raises(SandboxError, match="cannot run /nowhere/java"):
        process.start()


def test_stop_is_clean_where_it_can_be(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), exit(0)))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)"
    )
    process = start(program, log)
    assert wait_until(lambda: log.read_text() == "ready\n")

    assert process.stop(20.0) is True
    assert (process.exit_status, log.read_text()) == (0, "ready\nbye\n")


def test_stop_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)"
    )
    process = start(program, log)
    assert wait_until(lambda: log.read_text() == "ready\n")

    assert process.stop(0.2) is False
    assert process.exit_status == -signal.SIGKILL


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    process = start("import time\nwhile True: time.sleep(0.05)", tmp_path / "log")
    process.send(signal.SIGSTOP)

    assert process.stop(20.0) is True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
@pytest.mark.parametrize("pause", [False, True], ids=["running", "paused"])
def test_a_bound_child_dies_when_its_parent_is_killed(tmp_path: Path, pause: bool) -> None:
    log = tmp_path / "log"
    parent_program = f"""
import signal, sys, threading, time
from pathlib import Path
from streamer.sandbox.process import ServerProcess
log = Path({str(log)!r})
program = "import time; print('ready', flush=True); time.sleep(60)"
child = ServerProcess([sys.executable, "-c", program], log=log, dies_with_parent=signal.SIGKILL)
starter = threading.Thread(target=child.start)  # the child must outlive the thread that asked
starter.start(); starter.join()
while log.read_text() != "ready\\n": time.sleep(0.02)
if {pause}: child.send(signal.SIGSTOP)
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([PYTHON, "-c", parent_program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        time.sleep(0.3)
        assert exists(child)
    finally:
        parent.kill()
        parent.communicate()

    assert wait_until(lambda: not exists(child))


@pytest.mark.slow
def test_an_unbound_child_stays_when_its_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent_program = f"""
import sys, time
from pathlib import Path
from streamer.sandbox.process import ServerProcess
child = ServerProcess([sys.executable, "-c", "import time; time.sleep(30)"],
                      log=Path({str(log)!r}), dies_with_parent=None)
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([PYTHON, "-c", parent_program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    try:
        time.sleep(0.3)
        assert exists(child)
    finally:
        os.kill(child, signal.SIGKILL)


def one_reply(reply: bytes) -> int:
    """A port on which the first connection gets these bytes and an end."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(1024)
            connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def described(correlation: int, error: int, cluster: bytes) -> bytes:
    body = struct.pack(">iBihBB", correlation, 0, 0, error, 0, len(cluster) + 1) + cluster
    return struct.pack(">i", len(body)) + body


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (described(7, 0, b"abc-123"), "abc-123"),
        (described(7, 35, b"abc-123"), ""),
        (described(8, 0, b"abc-123"), ""),
        (described(7, 0, b"abc-123")[:12], ""),
        (b"", ""),
        (b"HTTP/1.1 400 Bad Request\r\n", ""),
    ],
    ids=["kafka", "an error", "another's answer", "cut short", "closed", "another protocol"],
)
def test_only_a_broker_without_an_error_tells_its_cluster(reply: bytes, expected: str) -> None:
    assert cluster_id(one_reply(reply)) == expected


def test_a_port_that_takes_connections_and_stays_silent_tells_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert cluster_id(server.getsockname()[1], timeout=0.1) == ""


@pytest.mark.slow
def test_the_reply_of_another_broker_is_not_taken_for_the_own(tmp_path: Path) -> None:
    process = start("import time; time.sleep(0.5); raise SystemExit(1)", tmp_path / "log")
    port = one_reply(described(7, 0, b"another"))

    problem = wait_until_it_answers(process, lambda: cluster_id(port) == "own", timeout=80)

    assert problem == "it ended with status 1"


def refused() -> bool:
    raise ConnectionRefusedError


def test_waiting_ends_when_the_process_does(tmp_path: Path) -> None:
    process = start("raise SystemExit(3)", tmp_path / "log")

    assert wait_until_it_answers(process, refused, timeout=80) == "it ended with status 3"


def test_waiting_ends_at_its_time(tmp_path: Path) -> None:
    process = start("import time\nwhile True: time.sleep(0.05)", tmp_path / "log")
    try:
        problem = wait_until_it_answers(process, refused, timeout=0.2)
        assert problem == "it did not answer within 0.2 s"
    finally:
        process.stop(5.0)


def test_the_tail_is_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert tail(log, lines=2) == "line 99998\nline 99999"
