"""For all tests with Airflow: a home of its own in a temporary directory, named before anything of
Airflow is imported, and one bag of DAGs for the session."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="streamer-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
    "AIRFLOW__STREAMER__SCHEDULES": "True",
}


@pytest.fixture(scope="session")
def home() -> Path:
    """AIRFLOW_HOME of this process's tests."""
    return HOME


@pytest.fixture(scope="session")
def database(home: Path) -> Iterator[None]:
    """Airflow's database, empty, with its tables."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils import db

    db.initdb()
    DagBundlesManager().sync_bundles_to_db()
    yield
    from airflow import settings

    settings.dispose_orm()


@pytest.fixture(scope="session")
def bag(database: None) -> Any:
    """All DAGs of the repository, written to the database as a DAG processor would."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    found = DagBag(str(ROOT / "dags"), bundle_name="dags-folder")
    assert not found.import_errors, found.import_errors
    sync_bag_to_db(found, "dags-folder", None)
    return found
