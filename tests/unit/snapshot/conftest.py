"""Places and repositories for the tests of snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.snapshot.remote.api import Backend
from tests.unit.snapshot.places import KINDS, Place, place_of, s3_server, sftp_host, ssh_host

__all__ = ["s3_server", "sftp_host", "ssh_host"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and needs_a_server(item):
            item.add_marker("slow")


def needs_a_server(item: pytest.Item) -> bool:
    """Whether a test goes by S3 or by SSH."""
    given = getattr(item, "callspec", None)
    kinds = {given.params.get(name) for name in ("place", "full")} if given else set()
    servers = {"own_server", "s3_server", "ssh_host", "sftp_host"}
    return bool(kinds & {"s3", "ssh", "sftp"} or servers & set(item.fixturenames))


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each kind of place in turn."""
    made = place_of(request.param, tmp_path, request)
    yield made
    made.close()


@pytest.fixture
def backend(place: Place) -> Backend:
    return place.open()


@pytest.fixture(autouse=True)
def _no_instance_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain of credentials must not ask the network."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
