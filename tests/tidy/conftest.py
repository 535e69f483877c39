"""What the tidy tests look at: the files that git tracks."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = {"", ".cfg", ".css", ".html", ".js", ".json", ".lock", ".md", ".mmd", ".py", ".sh"} | {
    ".proto",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}


def listed(found: Collection[str] | Mapping[str, int]) -> str:
    """All findings, a line each: pytest would cut a long list."""
    if isinstance(found, Mapping):
        found = [f"{where}: {size}" for where, size in found.items()]
    return "\n" + "\n".join(sorted(found))


@cache
def definitions(tree: ast.Module) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """All of a module, looked for once: that takes as long as to parse it."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """All tracked files that exist, relative to the root."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, so nobody knows which files are the project's")
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    files = [Path(name) for name in listed.split("\0") if name]
    return [file for file in files if (ROOT / file).is_file()]


@pytest.fixture(scope="session")
def texts(tracked: list[Path]) -> dict[Path, str]:
    """The tracked files that people read, with their text."""
    return {
        file: (ROOT / file).read_text(encoding="utf-8") for file in tracked if file.suffix in TEXT
    }


@pytest.fixture(scope="session")
def modules(texts: dict[Path, str]) -> dict[Path, ast.Module]:
    """The tracked Python files, parsed."""
    return {file: ast.parse(text) for file, text in texts.items() if file.suffix == ".py"}
