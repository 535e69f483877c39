"""The files around the code: lock, Makefile, CI entry, licence, compose file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy.conftest import ROOT

LOCKS = ("requirements.lock", ".ci/uv.lock")
TARGETS = [
    "setup",
    "servers",
    "demo",
    "airflow",
    "test",
    "test-fast",
    "test-celery",
    "test-thorough",
    "chaos",
    "bench",
    "lock",
    "format",
    "clean",
    "help",
]


def entries(name: str) -> Iterator[tuple[str, list[str]]]:
    """(requirement, hashes) of every entry of a lock file."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            first, *hashes = line.split("--hash=")
            yield first.strip(), [value.strip() for value in hashes]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_names_versions_and_hashes_only(name: str) -> None:
    found = list(entries(name))
    assert found
    for requirement, hashes in found:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!]+( ; [\w\s.<>=!'()*]+)?", requirement), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("name", [*LOCKS, "streamer/sandbox/kafka.lock"])
def test_a_lock_holds_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"\bindex\b|\bfind-links\b|@ |\b\w+\.(?:org|com|net|io)/", text)


def group(groups: dict[str, list[Any]], name: str) -> list[str]:
    """The requirements of a dependency group, those of the groups that it includes too."""
    found: list[str] = []
    for line in groups[name]:
        found += [line] if isinstance(line, str) else group(groups, line["include-group"])
    return found


def test_the_lock_satisfies_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = project["project"]["dependencies"] + group(project["dependency-groups"], "dev")
    locked = {}
    for entry, _hashes in entries("requirements.lock"):
        requirement = Requirement(entry)
        locked[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version

    for line in [*declared, *project["build-system"]["requires"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


def test_there_is_one_lock_of_the_environment() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/uv.lock" in ignored


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(TARGETS) <= set(re.findall(r"make ([a-z-]+)", listed))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_test_runs_linters_types_and_all_tests() -> None:
    command = ["make", "--dry-run", "--always-make", "test"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parts = ("ruff check", "ruff format --check", "mypy", "openssh-server", "pytest tests")
    for part in parts:
        assert part in shown


def test_continuous_integration_runs_make_test() -> None:
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert "make test" in path.read_text()


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_compose_file_has_kafka_and_workers_in_two_zones() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    assert re.fullmatch(r"apache/kafka:\d+\.\d+\.\d+", services["kafka"]["image"])
    workers = {name: service for name, service in services.items() if name.startswith("worker")}
    zones = [service["environment"]["STREAMER_ZONE"] for service in workers.values()]
    assert len(workers) == len(set(zones)) == 2
    for name, service in services.items():
        if service.get("restart") != "no":
            assert "healthcheck" in service, name
    for service in workers.values():
        assert service["command"] == ["run", "examples.profiles:app"]
