"""Which connections of the type `streamer` there are, and the application behind one.

Those of Airflow's database and of its environment. A secrets backend cannot be asked for a list:
connections of one are named in `[streamer] connections` (`AIRFLOW__STREAMER__CONNECTIONS`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.secrets.environment_variables import EnvironmentVariablesBackend
from airflow.utils.session import create_session
from sqlalchemy import select

__all__ = ["CONNECTION_TYPE", "Connections", "Listing"]

CONNECTION_TYPE = "streamer"
_PREFIX = "AIRFLOW_CONN_"
# Every look of every viewer asks whether its connection is one; and who has made one looks at once.
_KEPT_S = 2.0
# A secrets backend may be far away, and charge for each question.
_NAMED_KEPT_S = 300.0


class Connections:
    """The ids, read anew every two seconds at most. Any thread may ask.

    One thread reads at a time. Whoever comes meanwhile gets what was read before: a database or a
    vault that does not answer stops one look at the page, and not all of them.
    """

    def __init__(self, read: Callable[[], list[str]] | None = None) -> None:
        self._read = read or Listing().found
        self._reading = threading.Lock()
        # What was read, and until when that is new enough: replaced as one.
        self._known: tuple[list[str], float] | None = None

    def ids(self) -> list[str]:
        known = self._known
        if known is not None and time.monotonic() < known[1]:
            return list(known[0])
        # Only while nothing was ever read there is nothing to be given.
        if not self._reading.acquire(blocking=known is None):
            assert known is not None
            return list(known[0])
        try:
            known = self._known
            if known is None or time.monotonic() >= known[1]:
                known = self._known = (self._read(), time.monotonic() + _KEPT_S)
            return list(known[0])
        finally:
            self._reading.release()


class Listing:
    """Where connections are looked for. Used by one thread at a time."""

    def __init__(self) -> None:
        self._named: list[str] = []
        self._until_s = 0.0

    def found(self) -> list[str]:
        """All ids, in order."""
        listed = {*_of_database(), *_of_environment()}
        if time.monotonic() >= self._until_s:
            # The default of this option need not be there.
            self._named = [one for one in _named() if one in listed or _is_known(one)]
            self._until_s = time.monotonic() + _NAMED_KEPT_S
        return sorted({*listed, *self._named})


def _of_database() -> list[str]:
    wanted = select(Connection.conn_id).where(Connection.conn_type == CONNECTION_TYPE)
    with create_session() as session:
        return [str(one) for one in session.scalars(wanted)]


def _of_environment() -> list[str]:
    backend = EnvironmentVariablesBackend()
    names = [name for name in os.environ if name.startswith(_PREFIX)]
    ids = [name.removeprefix(_PREFIX).lower() for name in names]
    return [one for one in ids if _type(backend.get_connection, one) == CONNECTION_TYPE]


def _named() -> list[str]:
    named = conf.get("streamer", "connections", fallback="") or ""
    return [one.strip() for one in named.split(",") if one.strip()]


def _is_known(conn_id: str) -> bool:
    return _type(Connection.get_connection_from_secrets, conn_id) == CONNECTION_TYPE


def _type(get: Callable[[str], Any], conn_id: str) -> str:
    try:
        connection = get(conn_id)
    except Exception:  # whatever is there, or is not: it is no connection of this type
        return ""
    return str(connection.conn_type) if connection else ""
