"""`ObjectStore`: a real S3 server as a child process, for development and tests.

    with ObjectStore() as store:
        store.make_bucket("snapshots")      # and then: store.endpoint, store.environment

It is versitygw, built once from its sources by the Go that is installed, and kept in the user's
cache. It dies with this process. Its objects are files in a directory; without one they go with it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from streamer.errors import OperationRefusedError, SandboxError
from streamer.sandbox.jars import cache_directory
from streamer.sandbox.ports import free_ports
from streamer.sandbox.process import ServerProcess, tail, wait_until_it_answers

__all__ = ["ObjectStore", "build", "is_built", "missing"]

MODULE, VERSION = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"
BUILD_S = 1_500
START_S = 20.0
STOP_S = 5.0


class ObjectStore:
    """One server on loopback. `port` 0 means a free one, which stays for the next start."""

    def __init__(
        self, directory: str | Path | None = None, *, port: int = 0, cache: Path | None = None
    ) -> None:
        self._directory = Path(directory).absolute() if directory is not None else None
        self._temporary: Path | None = None
        self._port = port
        self._cache = cache
        self._process: ServerProcess | None = None
        self.access_key = "sandbox"
        self.secret_key = "sandbox-secret"

    @property
    def endpoint(self) -> str:
        """What clients take; known from the first start on."""
        if not self._port:
            raise OperationRefusedError(
                "the S3 server has no port yet", hint="call start(), or give it a port"
            )
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, as the usual chain takes them from the environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    @property
    def data(self) -> Path:
        """Where its objects are: `<bucket>/<key>`."""
        root = self._directory or self._temporary
        assert root is not None, "not started"
        return root / "data"

    def start(self, *, timeout: float = START_S) -> Self:
        """Returns when it answers. The first start ever builds it, which takes minutes.

        Raises:
            SandboxError: it could not be built or started.
        """
        if self._process is not None and self._process.exit_status is None:
            raise OperationRefusedError("the S3 server runs already", hint="call stop() first")
        binary = build(self._cache)
        if self._directory is None and self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="streamer-s3-"))
        atexit.register(self.remove)
        self.data.mkdir(parents=True, exist_ok=True)
        self._port = self._port or free_ports(1)[0]
        log = self.data.parent / "s3.log"
        command = [str(binary), "-p", f"127.0.0.1:{self._port}"]
        command += ["-a", self.access_key, "-s", self.secret_key, "-q", "--keep-alive"]
        self._process = ServerProcess(
            [*command, "posix", str(self.data)], log=log, dies_with_parent=signal.SIGKILL
        )
        self._process.start()
        problem = wait_until_it_answers(self._process, self._answers, timeout=timeout)
        if problem:
            end_of_log = tail(log)
            self.stop()
            raise SandboxError(
                f"the S3 server did not start: {problem}. The end of its log:\n{end_of_log}",
                hint="a busy port is the usual reason",
            )
        return self

    def make_bucket(self, name: str) -> None:
        """A directory of its own is a bucket."""
        (self.data / name).mkdir()

    def stop(self) -> None:
        """Stop the server; its objects stay for the next start."""
        if self._process is not None and self._process.exit_status is None:
            self._process.stop(STOP_S)
        self._process = None

    def remove(self) -> None:
        """Stop it, and remove the objects where no directory was named."""
        self.stop()
        atexit.unregister(self.remove)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _answers(self) -> bool:
        """Whoever signs nothing is refused, by the server that is waited for."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=2)) as connection:
            connection.request("GET", "/")
            connection.getresponse().read()
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.remove()


def missing() -> str:
    """Why the server can neither be run nor built here; empty where it can."""
    if is_built() or shutil.which("go") is not None:
        return ""
    return "no Go is installed, by which the S3 server (versitygw) is built"


def is_built(cache: Path | None = None) -> bool:
    return _binary(cache).exists()


def build(cache: Path | None = None) -> Path:
    """The server's program, built if the cache lacks it. Raises SandboxError."""
    binary = _binary(cache)
    try:
        binary.parent.mkdir(parents=True, exist_ok=True)
        with (binary.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process builds, the others wait for it
            if not binary.exists():
                _build(binary)
    except OSError as error:
        raise SandboxError(
            f"cannot write the cache {binary.parent}: {error}",
            hint="free some space there, or set XDG_CACHE_HOME to a writable directory",
        ) from error
    return binary


def _binary(cache: Path | None) -> Path:
    return (cache or cache_directory()) / "versitygw" / f"versitygw-{VERSION}"


def _build(binary: Path) -> None:
    if shutil.which("go") is None:
        raise SandboxError(
            "the S3 server cannot be built: no Go is installed",
            hint="install Go 1.24 or newer, and start again",
        )
    for leftover in binary.parent.glob("build-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=binary.parent, prefix="build-") as temporary:
        # All that Go fetches and compiles goes with this directory; only the program stays.
        places = {name: f"{temporary}/{name.lower()}" for name in ("GOBIN", "GOPATH", "GOCACHE")}
        environment = {**os.environ, **places, "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0"}
        command = ["nice", "-n", "10", "go", "install", "-trimpath", f"{MODULE}@{VERSION}"]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=BUILD_S
            )
        except subprocess.TimeoutExpired:
            raise SandboxError(
                f"the S3 server was not built within {BUILD_S} s", hint="try again when it is quiet"
            ) from None
        if done.returncode != 0:
            raise SandboxError(
                f"the S3 server cannot be built: {done.stderr[-500:]}",
                hint="the first build needs network access",
            )
        Path(places["GOBIN"], "versitygw").rename(binary)
