"""What the forms of DAGs can offer of an application that runs: its stores, tasks and workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from demo.airflow.connection import as_variable, body
from demo.airflow.environment import ROOT
from streamer.config import Config

__all__ = ["choices"]

_ASK_S = 90.0


def choices(config: Config) -> str:
    """JSON for `[streamer] choices`; of nothing where no worker has told yet.

    A process of its own asks: Airflow makes files in its home when it is imported.
    """
    with tempfile.TemporaryDirectory(prefix="streamer-choices-") as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        variables = {
            **kept,
            **as_variable(body(config)),
            "AIRFLOW_HOME": home,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": str(ROOT / "plugins"),
        }
        command = [sys.executable, "-m", "streamer_airflow.choices"]
        try:
            done = subprocess.run(
                command, env=variables, cwd=home, capture_output=True, text=True, timeout=_ASK_S
            )
        except subprocess.TimeoutExpired:
            return _nothing(f"no answer within {_ASK_S:g} s")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("streamer: ")]
        return _nothing(
            (lines or done.stderr.strip().splitlines()[-1:] or ["no reason is told"])[-1]
        )
    return done.stdout.strip().splitlines()[-1]


def _nothing(why: str) -> str:
    """Forms are filled in by hand then, so it is no reason not to start."""
    print(f"forms offer nothing of the application to choose from: {why}", flush=True)
    return "{}"
