"""What tests of the page share: Airflow's settings, a real API server, a real browser.

What another conftest has set before stays. `server` runs Airflow's API server as a process of its
own; `browser` is the system's Chromium.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.page.server import PLUGINS, Server

CHROMIUM = "/usr/bin/chromium"

if "AIRFLOW_HOME" not in os.environ:
    _home = tempfile.mkdtemp(prefix="streamer-airflow-")
    os.environ["AIRFLOW_HOME"] = _home
    os.environ.setdefault("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{_home}/airflow.db")
else:
    _home = ""
os.environ.setdefault("AIRFLOW__CORE__PLUGINS_FOLDER", str(PLUGINS))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__API_AUTH__JWT_SECRET", "page" * 20)


@pytest.fixture(scope="session", autouse=True)
def _home_goes() -> Iterator[None]:
    yield
    if _home:
        shutil.rmtree(_home, ignore_errors=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Airflow's API server with the page, SQLite, an admin and a viewer."""
    with Server(tmp_path_factory.mktemp("api-server")) as running:
        yield running


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the browser is, or what starts it as everybody's equal: as root it takes a higher
    priority than the other tests have."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed (`make servers` does that where it may)")
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        return CHROMIUM
    wrapper = tmp_path_factory.mktemp("browser") / "chromium"
    without = "--bounding-set=-sys_nice --inh-caps=-sys_nice"
    wrapper.write_text(f'#!/bin/sh\nexec {setpriv} {without} {CHROMIUM} "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)
