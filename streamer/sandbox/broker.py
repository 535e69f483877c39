"""`Sandbox`: a real Apache Kafka as a child process, for development and tests.

    with Sandbox() as kafka:
        App("demo", bootstrap_servers=kafka.bootstrap_servers)

The port is the same from the first start to the last stop, whatever happens in between. Without a
directory the data is temporary and goes with the last stop; with one it stays.
"""

from __future__ import annotations

import atexit
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from streamer.errors import OperationRefusedError, SandboxError
from streamer.sandbox.directory import (
    Description,
    describe,
    hold,
    remove_abandoned,
    temporary,
    write_description,
)
from streamer.sandbox.jars import fetch
from streamer.sandbox.ports import free_ports
from streamer.sandbox.prepared import copy, format_data, is_copied, java, prepare
from streamer.sandbox.process import ServerProcess, cluster_id, tail, wait_until_it_answers
from streamer.sandbox.settings import LOGGING, Seat, server_properties

__all__ = ["Sandbox"]

START_TIMEOUT = 240.0
STOP_TIMEOUT = 20.0
PORT_ATTEMPTS = 3


class Sandbox:
    """One Kafka broker on loopback. Times are seconds.

    `settings` are the broker's own, by their names, and win over the sandbox's. `port` 0 means a
    free one. `listeners` are further ones by the protocol that each speaks, such as SASL_SSL.
    `bound` ties the broker's life to this process. `seat` is its place among several (cluster.py).
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        port: int = 0,
        heap_mib: int = 512,
        settings: Mapping[str, str] | None = None,
        listeners: Sequence[str] = (),
        bound: bool = True,
        cache: Path | None = None,
        seat: Seat | None = None,
    ) -> None:
        self._given = Path(directory).absolute() if directory is not None else None
        self._directory = self._given
        self._seat = seat
        self._ports = list(seat.ports) if seat else [port] if port else []
        self._port_is_given = bool(self._ports)
        self._heap_mib = heap_mib
        self._settings = dict(settings or {})
        self._listeners = tuple(listeners)
        self._bound = bound
        self._cache = cache
        self._process: ServerProcess | None = None
        self._lock: IO[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT`; known from the first start on."""
        return f"127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        if not self._ports:
            raise OperationRefusedError(
                "the sandbox has no port yet", hint="call start(), or give it a port"
            )
        return self._ports[0]

    def address(self, listener: str) -> str:
        """`127.0.0.1:PORT` of one of the further listeners; known from the first start on."""
        return f"127.0.0.1:{self._further()[listener]}"

    def _further(self) -> dict[str, int]:
        return dict(zip(self._listeners, self._ports[2:], strict=True))

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """The process is there; it may be paused."""
        return self._process is not None and self._process.exit_status is None

    @property
    def directory(self) -> Path:
        if self._directory is None:
            raise OperationRefusedError("the sandbox has no directory yet", hint="call start()")
        return self._directory

    @property
    def log(self) -> Path:
        return self.directory / "kafka.log"

    def start(self, *, timeout: float = START_TIMEOUT) -> Self:
        """Returns when the broker answers. The first start ever downloads it (44 MB), and prepares
        what makes later starts short (40 MB).

        Raises:
            SandboxError: it could not be downloaded or started; carries the end of its log.
        """
        if self.is_running:
            raise OperationRefusedError(f"the sandbox runs already, pid {self.pid}")
        jars = fetch(cache=self._cache)
        prepared = prepare(jars, cache=self._cache)
        self._hold_directory()
        if self._bound:
            atexit.register(self.stop)
        problem = ""
        for _ in range(PORT_ATTEMPTS):
            problem = self._start_once(jars, prepared, timeout)
            if not problem:
                return self
            end_of_log = tail(self.log)
            is_taken = "Address already in use" in end_of_log or "BindException" in end_of_log
            if not is_taken or self._port_is_given:
                break
            self._ports = []
        log = self.log
        self.stop(timeout=1)
        raise SandboxError(
            f"Kafka did not start: {problem}. The end of {log}:\n{end_of_log}",
            hint="a busy port, a full disk and too little memory are the usual reasons",
        )

    def stop(self, *, timeout: float = STOP_TIMEOUT) -> None:
        """Stop it cleanly, by force after `timeout`; temporary data goes. May be called twice."""
        self._end_process(timeout)
        atexit.unregister(self.stop)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._given is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def pause(self) -> None:
        """Stop the process where it stands: connections stay open and nothing is answered."""
        self._running().pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running().send(signal.SIGCONT)

    def shut(self, *, timeout: float = STOP_TIMEOUT) -> None:
        """Stop the broker and keep its data and port for `restart`: connections are refused."""
        self._running()
        self._end_process(timeout)

    def kill(self) -> None:
        """End the process as a crash of its machine would; its data and port are for `restart`."""
        self._running().send(signal.SIGKILL)
        self._end_process(STOP_TIMEOUT)

    def restart(self, *, timeout: float = START_TIMEOUT) -> Self:
        """Start again on the same port and data, after `shut`, `kill`, or from a running broker."""
        if self._directory is None:
            raise OperationRefusedError("the sandbox was never started", hint="call start()")
        self._end_process(STOP_TIMEOUT)
        is_given, self._port_is_given = self._port_is_given, True
        try:
            return self.start(timeout=timeout)
        finally:
            self._port_is_given = is_given

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _running(self) -> ServerProcess:
        if self._process is None or self._process.exit_status is not None:
            raise OperationRefusedError("the sandbox does not run", hint="call start()")
        return self._process

    def _end_process(self, timeout: float) -> None:
        if self._process is not None:
            if self._process.exit_status is None:
                self._process.stop(timeout)
            write_description(self.directory, Description(0, *self._ports[:2]))
        self._process = None

    def _hold_directory(self) -> None:
        if self._lock is not None:
            return
        if self._directory is None:
            remove_abandoned()
            self._directory, self._lock = temporary()
        else:
            self._lock = hold(self._directory)
        before = describe(self._directory)
        if before is not None and not self._ports:
            self._ports = [before.port, before.controller_port]
        if before is not None:
            write_description(self._directory, before._replace(pid=0))

    def _start_once(self, jars: list[Path], prepared: Path | None, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        missing = 2 + len(self._listeners) - len(self._ports)
        self._ports += [p for p in free_ports(missing + len(self._ports)) if p not in self._ports][
            :missing
        ]
        data = self.directory / "data"
        properties = self.directory / "server.properties"
        text = server_properties(
            data,
            port=self.port,
            controller_port=self._ports[1],
            overrides=self._settings,
            listeners=self._further(),
            seat=self._seat,
        )
        properties.write_text(text, encoding="utf-8")
        logging = self.directory / "log4j2.properties"
        logging.write_text(LOGGING, encoding="ascii")
        command = java(jars, logging, heap_mib=self._heap_mib, prepared=prepared)
        self.log.unlink(missing_ok=True)
        if not (data / "meta.properties").exists():
            if prepared is not None and self._seat is None and is_copied(self._settings):
                copy(prepared, data)
            elif problem := format_data(
                command, properties, log=self.log, timeout=timeout, seat=self._seat
            ):
                return problem
        self._process = ServerProcess(
            [*command, "kafka.Kafka", str(properties)],
            log=self.log,
            dies_with_parent=self._death_signal(),
            inherits=[self._lock.fileno()] if self._lock is not None else [],
        )
        self._process.start()
        write_description(self.directory, Description(self._process.pid, *self._ports[:2]))
        left = max(1.0, deadline - time.monotonic())
        own = _cluster(data)
        # The port may be another broker's: only the cluster's id tells whose reply it is.
        problem = wait_until_it_answers(
            self._process, lambda: cluster_id(self.port) == own, timeout=left
        )
        if problem:
            self._end_process(1)
        return problem

    def _death_signal(self) -> signal.Signals | None:
        if not self._bound:
            return None
        # Data that stays is worth an orderly end; SIGKILL reaches even a paused broker.
        return signal.SIGTERM if self._given else signal.SIGKILL


def _cluster(data: Path) -> str:
    lines = (data / "meta.properties").read_text(encoding="ascii").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))
