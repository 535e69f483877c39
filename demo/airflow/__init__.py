"""A local Airflow as child processes, for the demonstration, for tests and for `make airflow`.

    with LocalAirflow() as airflow:
        airflow.url, airflow.passwords["admin"], airflow.api()

local        start, health, stop        keeper       the process that keeps Airflow's own
parts        of which it is made        leftovers    what a killed one left behind
environment  settings and secrets
rest         its REST API               runs         DAG runs: trigger, follow, approve
connection   which application it conducts   choosing   what its forms offer of that one
"""

from __future__ import annotations

from demo.airflow.local import LocalAirflow
from demo.airflow.rest import Api, ApiError
from demo.airflow.runs import Run, Runs

__all__ = ["Api", "ApiError", "LocalAirflow", "Run", "Runs"]
