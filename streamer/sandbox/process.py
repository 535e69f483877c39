"""The broker's operating system process: started, watched, signalled, ended within a bound.

A bound process dies with this one, whatever kills it. The kernel ties that promise to the thread
which started the child, therefore a thread of its own starts it and lives as long as it does.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from streamer.errors import SandboxError
from streamer.launch import launched

__all__ = ["ServerProcess", "cluster_id", "tail", "wait_until_it_answers"]

# DescribeCluster (API 60) version 0: a header with correlation id 7 and client id "sandbox", no
# tagged fields, no authorized operations asked for.
_PROBE = struct.pack(">hhih", 60, 0, 7, 7) + b"sandbox" + b"\0" + b"\0\0"


class ServerProcess:
    """A child process with its output in a file, and with the open files that it inherits.

    Without an `environment` it has this process's own.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        dies_with_parent: signal.Signals | None,
        inherits: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._environment = None if environment is None else dict(environment)
        self._inherits = tuple(inherits)
        self._log = log
        self._signal = dies_with_parent
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns as soon as the process exists."""
        threading.Thread(target=self._keep, name="sandbox-process", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise SandboxError(f"cannot run {self._command[0]}: {self._failure}")

    def _keep(self) -> None:
        command = self._command
        if self._signal is not None:
            command = launched(command, self._signal)
        try:
            with self._log.open("ab") as output:
                # A group of its own keeps a Ctrl-C at the terminal from reaching the broker first.
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=self._inherits,
                    env=self._environment,
                )
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        self._child.wait()

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        assert self._child is not None, "not started"
        return self._child.poll()

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None, "not started"
        self._child.send_signal(number)

    def pause(self) -> None:
        """Stop it where it stands, and wait until all of its threads do."""
        self.send(signal.SIGSTOP)
        assert self._child is not None
        # macOS has it from Python 3.13 on.
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def stop(self, timeout: float) -> bool:
        """Ask it to end, and after `timeout` seconds end it; True if it ended by itself."""
        assert self._child is not None, "not started"
        self.send(signal.SIGCONT)  # a paused process would not see the request
        self.send(signal.SIGTERM)
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._child.wait()
            return False
        return True


def cluster_id(port: int, *, timeout: float = 2.0) -> str:
    """What the broker on this loopback port says it belongs to; empty if none answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(struct.pack(">i", len(_PROBE)) + _PROBE)
            stream = connection.makefile("rb")
            (length,) = struct.unpack(">i", stream.read(4))
            if not 0 < length < 65_536:
                return ""
            # correlation id, tagged fields, throttle time, error, error message (none), cluster id
            reply = stream.read(length)
            correlation, tags, _throttle, error, message = struct.unpack_from(">iBihB", reply)
            if (correlation, tags, error, message) != (7, 0, 0, 0):
                return ""
            start = struct.calcsize(">iBihB") + 1
            return reply[start : start + reply[start - 1] - 1].decode("ascii")
    except (OSError, struct.error, ValueError, IndexError):
        return ""


def wait_until_it_answers(
    process: ServerProcess, answers: Callable[[], bool], *, timeout: float
) -> str:
    """An empty string once it answers, else a sentence that says why it never will. What `answers`
    raises of connections means not yet."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        status = process.exit_status
        if status is not None:
            return f"it ended with status {status}"
        with suppress(OSError, HTTPException):
            if answers():
                return ""
        time.sleep(0.05)
    return f"it did not answer within {timeout:g} s"


def tail(path: Path, *, lines: int = 20) -> str:
    """The last lines of a log file, without reading all of it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
