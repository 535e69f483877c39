"""The broker's jars: which ones, and a verified copy of them in the user's cache.

A lock file beside this module names every jar with its size and sha256. A jar appears in the cache
under its final name only after its bytes were compared with the lock, so what is there is whole.
One process downloads at a time; the others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamer.errors import SandboxError

__all__ = [
    "KAFKA_LOCK",
    "Jar",
    "cache_directory",
    "digest",
    "fetch",
    "maven",
    "only_one",
    "read_lock",
]

KAFKA_LOCK = Path(__file__).with_name("kafka.lock")
DOWNLOADS_AT_ONCE = 6
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of a lock file: `group:artifact:version size sha256`."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Unique in a flat directory, and still readable in a class path."""
        _group, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}-{self.sha256[:8]}.jar"


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/streamer`, else `~/.cache/streamer`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "streamer"


def read_lock(path: Path = KAFKA_LOCK) -> list[Jar]:
    """The jars that a lock file names, in its order, which is the order of the class path."""
    jars = []
    for line in path.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            coordinate, size, sha256 = line.split()
            jars.append(Jar(coordinate, int(size), sha256))
    return jars


def fetch(lock: Path = KAFKA_LOCK, *, cache: Path | None = None) -> list[Path]:
    """The paths of all jars of a lock file; downloads only what the cache lacks.

    Raises:
        SandboxError: a jar could not be downloaded, or is not the one that the lock file names.
    """
    directory = (cache or cache_directory()) / "jars"
    jars = read_lock(lock)
    if _missing(jars, directory):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with only_one(directory / ".lock"):
                _download_all(_missing(jars, directory), directory)
        except OSError as error:
            raise SandboxError(
                f"cannot write the cache {directory}: {error}",
                hint="free some space there, or set XDG_CACHE_HOME to a writable directory",
            ) from error
    return [directory / jar.file_name for jar in jars]


def _missing(jars: list[Jar], directory: Path) -> list[Jar]:
    def is_whole(jar: Jar) -> bool:
        try:
            return (directory / jar.file_name).stat().st_size == jar.size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False

    return [jar for jar in jars if not is_whole(jar)]


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """One process at a time is here, among those that name this file; the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel gives it back when its holder dies
        yield


def _download_all(jars: list[Jar], directory: Path) -> None:
    for leftover in directory.glob("download-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if not jars:
        return
    with tempfile.TemporaryDirectory(dir=directory, prefix="download-") as temporary:
        context = maven(Path(temporary))
        pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
        try:
            downloads = [pool.submit(_download, jar, context, directory) for jar in jars]
            for download in downloads:
                download.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _download(jar: Jar, context: Any, directory: Path) -> None:
    group, name, version = jar.coordinate.split(":")
    artifact = context.project(group, name).at_version(version).artifact()
    problem: object = None
    for _ in range(ATTEMPTS):
        try:
            path = Path(artifact.resolve())
        except Exception as error:  # the resolver raises whatever its parts raise
            problem = f"{type(error).__name__}: {error}"
            artifact.cached_path.unlink(missing_ok=True)
            continue
        if digest(path) == jar.sha256:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.rename(directory / jar.file_name)
            return
        problem = f"its sha256 is not {jar.sha256}"
        path.unlink()
    raise SandboxError(
        f"cannot download {jar.coordinate}: {problem}",
        hint=f"the first start needs network access; {directory} may also be copied "
        "from a machine on which the sandbox has run",
    )


def digest(path: Path) -> str:
    """sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def maven(repository: Path) -> Any:
    """Maven Central and the repositories of the user's own jgo configuration."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repository, remote_repos=remotes, timeout=60)
