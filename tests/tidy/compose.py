"""A program that loads a compose file as `docker compose config` does, of `compose_check/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest

from streamer.sandbox.jars import cache_directory

__all__ = ["CHECK_S", "built"]

CHECK = Path(__file__).parent / "compose_check"
CHECK_S = 900


def built() -> Path:
    """Built once by Go, and kept in the user's cache. Skips where it cannot be."""
    sources = sorted(CHECK.iterdir())
    digest = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    binary = cache_directory() / "compose-check" / digest
    if binary.exists():
        return binary
    if shutil.which("go") is None:
        pytest.skip("no Go is installed, by which the check of docker-compose.yml is built")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent, prefix="build-") as temporary:
        places = {name: f"{temporary}/{name.lower()}" for name in ("GOPATH", "GOCACHE")}
        variables = {**os.environ, **places, "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0"}
        fetch, build = ["go", "mod", "download"], ["go", "build", "-o", f"{temporary}/built", "."]
        for command in (fetch, build):
            done = subprocess.run(
                command, cwd=CHECK, env=variables, capture_output=True, text=True, timeout=CHECK_S
            )
            if done.returncode != 0 and command is fetch:
                pytest.skip(f"the check of the compose file was not fetched: {done.stderr[-300:]}")
            assert done.returncode == 0, done.stderr
        Path(temporary, "built").rename(binary)
    return binary
