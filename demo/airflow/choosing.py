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

_ASK_S = 120.0


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
        done = subprocess.run(
            command, env=variables, cwd=home, capture_output=True, text=True, timeout=_ASK_S
        )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines() or ["no reason is told"]
        print(f"forms offer nothing of the application to choose from: {reason[-1]}", flush=True)
        return "{}"
    return done.stdout.strip().splitlines()[-1]
