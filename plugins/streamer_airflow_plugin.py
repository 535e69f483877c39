"""What Airflow loads of Streamer: the page, its places in the UI, a timetable. Nothing else is
here: Airflow imports every file of the plugins folder that `.airflowignore` leaves, under its bare
name."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from streamer_airflow.intervals import OnDemandIntervals
from streamer_airflow.web.app import create

# Where a proxy serves Airflow below a path, frames need it too.
_BELOW = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


_APPS: list[Any] = [{"app": create(), "url_prefix": "/streamer", "name": "Streamer"}]
_VIEWS: list[Any] = [
    {
        "name": "Streamer",
        "href": f"{_BELOW}/streamer/",
        "destination": "nav",
        "url_route": "streamer",
        "nav_top_level": True,
    },
    {
        "name": "Streamer",
        "href": f"{_BELOW}/streamer/?dag={{DAG_ID}}&run={{RUN_ID}}",
        "destination": "dag_run",
        "url_route": "streamer-operations",
    },
]


_TIMETABLES: list[Any] = [OnDemandIntervals]


class StreamerPlugin(AirflowPlugin):
    """The page of all applications in the navigation, and the operations of a run beside it."""

    name = "streamer"
    fastapi_apps = _APPS
    timetables = _TIMETABLES
    external_views = _VIEWS
