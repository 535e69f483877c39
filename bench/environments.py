"""Python environments of their own, for peers whose requirements exclude those of Streamer.

Made on first use in the user's cache: by uv where it is found, else by the standard library.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.measure import ROOT, MeasureError


def python_with(requirement: str) -> Path:
    """The interpreter of an environment that has the requirement, such as ``name==1.2``.

    Raises MeasureError with the installer's words.
    """
    from streamer.sandbox.jars import cache_directory

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = cache_directory() / "bench" / f"{requirement.replace('==', '-')}-python{version}"
    python, complete = target / "bin" / "python", target / ".complete"
    if not complete.exists():
        shutil.rmtree(target, ignore_errors=True)
        for command in _commands(target, requirement):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise MeasureError(
                    f"{requirement} cannot be installed:\n{done.stdout}{done.stderr}"
                )
        complete.touch()
    return python


def _commands(target: Path, requirement: str) -> list[list[str]]:
    python = str(target / "bin" / "python")
    own_uv = ROOT / ".tools" / "bin" / "uv"
    uv = str(own_uv) if own_uv.exists() else shutil.which("uv")
    if uv:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(target)],
            [uv, "pip", "install", "--quiet", "--python", python, requirement],
        ]
    return [
        [sys.executable, "-m", "venv", str(target)],
        [python, "-m", "pip", "install", "--quiet", requirement],
    ]
