"""`up`, `down` and `status` from different processes, as the command line calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import SandboxError
from streamer.sandbox import Sandbox, down, status
from streamer.sandbox.process import cluster_id
from tests.thorough import thorough


def in_another_process(call: str, directory: Path) -> Any:
    program = (
        "import dataclasses, json, sys; from streamer.sandbox import up, down, status\n"
        "directory = sys.argv[1]\n"
        f"found = {call}\n"
        "print(json.dumps(found if isinstance(found, bool) else dataclasses.asdict(found),"
        " default=str))"
    )
    command = [sys.executable, "-c", program, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    down(tmp_path / "sandbox")


@thorough
def test_a_background_sandbox_outlives_the_command_that_started_it(
    directory: Path, kafka: Any, names: Any
) -> None:
    started = in_another_process("up(directory, heap_mib=256)", directory)
    assert (started["is_running"], started["is_answering"]) == (True, True)
    assert in_another_process("up(directory)", directory) == started
    assert status(directory).pid == started["pid"]
    with pytest.raises(SandboxError, match="another process uses"):
        Sandbox(directory).start()

    client = type(kafka)(started["bootstrap_servers"])
    client.create(names.topic("in"))
    client.produce(names.topic("in"), [("k", "v")])

    assert in_another_process("down(directory)", directory) is True
    assert in_another_process("down(directory)", directory) is False
    assert status(directory).is_running is False
    assert cluster_id(int(started["bootstrap_servers"].rpartition(":")[2])) == ""

    again = in_another_process("up(directory, heap_mib=256)", directory)
    assert again["bootstrap_servers"] == started["bootstrap_servers"]
    assert [record.value for record in client.read(names.topic("in"))] == [b"v"]

    assert in_another_process("down(directory, remove_data=True)", directory) is True
    assert not directory.exists()
