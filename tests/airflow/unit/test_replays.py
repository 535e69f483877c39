"""What a replay has besides stages."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from streamer.config import resolve
from streamer_airflow.body import of_differences
from streamer_airflow.operators.replays import ReadAgainOperator
from streamer_airflow.toml import settings_file
from tests.airflow.unit.rig import context

SETTINGS: dict[str, Any] = {
    "bootstrap_servers": "127.0.0.1:9",
    "num_standby_replicas_unknown": None,
    "kafka": {"sasl.username": "ann", "sasl.password": 'a"b\\c\n\x7f\U0001f600é', "x": 3},
    "zone": "az=eu-1",
}


def test_settings_are_read_back_as_they_were_and_by_nobody_else(tmp_path: Path) -> None:
    given = {name: value for name, value in SETTINGS.items() if value is not None}
    path = settings_file(tmp_path, given)
    assert tomllib.loads(path.read_text()) == given
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = resolve("app", file=path, environment={}).config
    assert config.kafka["sasl.password"] == given["kafka"]["sasl.password"]
    with pytest.raises(FileExistsError):
        settings_file(tmp_path, given)


def test_without_code_workers_are_started_where_it_is() -> None:
    task = ReadAgainOperator(task_id="read_again", approved=[{"operation": "replay-1"}])
    with pytest.raises(AirflowSkipException, match="streamer replay work replay-1 MODULE:APP"):
        task.execute(context(code="", processes=1))


def test_differences_are_a_table_that_no_name_breaks() -> None:
    one = {"store": "a|b", "same": 12_000, "added": 1, "changed": 2, "gone": 3, "moving": 4}
    assert "| a\\|b | 12,000 | 1 | 2 | 3 | 4 |" in of_differences([one])
