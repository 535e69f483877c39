from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient


def _sandbox(*arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "streamer.cli.main", "sandbox", *arguments, "--json"],
        capture_output=True,
        timeout=440,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def test_the_sandbox_command_keeps_a_broker_until_it_is_told_to_stop(tmp_path: Path) -> None:
    place = ("--directory", str(tmp_path / "kafka"))
    code, before = _sandbox("status", *place)
    assert (code, before["running"]) == (1, False)
    try:
        code, up = _sandbox("up", *place, "--set", "log.retention.hours=5")
        assert (code, up["running"], up["answering"]) == (0, True, True)
        code, status = _sandbox("status", *place)
        assert (code, status) == (0, up)
        admin = AdminClient({"bootstrap.servers": up["bootstrap_servers"]})
        assert list(admin.list_topics(timeout=240).brokers) == [1]
    finally:
        code, down = _sandbox("down", *place, "--remove-data")
    assert (code, down["was_running"]) == (0, True)
    assert not (tmp_path / "kafka").exists()
    code, after = _sandbox("status", *place)
    assert (code, after["running"]) == (1, False)
