"""Who a worker is: its id, the session of one process, the incarnation that may own tasks.

    worker       `w1`             stable over restarts; names the transactional id and the disk
    session      `9f3c01aa6b52`   random; one process from its start to its end
    incarnation  `9f3c01aa6b52.2` the session's third life: counted up each time it was fenced

Within a session a higher number proves that the lower ones are fenced, because a process makes its
producer anew before it takes a new number. Between sessions nothing can be said about the order.
"""

from __future__ import annotations

import getpass
import re
import secrets
import socket
from typing import NamedTuple

from streamer.errors import InternalTopicError

__all__ = [
    "Incarnation",
    "Listed",
    "Process",
    "client_id",
    "fresh_session",
    "listed_as",
    "session_of",
    "somebody",
]

_MARK, _PLACE = "#", "@"
# The session is what has no marks in it.
_LISTED = re.compile(rf"(.+?){_MARK}([^{_MARK}{_PLACE}]+){_PLACE}(.*)")


class Incarnation(NamedTuple):
    """One life of one process of a worker."""

    session: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.session}.{self.number}"

    def next(self) -> Incarnation:
        return Incarnation(self.session, self.number + 1)

    @classmethod
    def parse(cls, text: str) -> Incarnation:
        """Read `9f3c01aa6b52.2`. Raises InternalTopicError for anything else."""
        session, _, number = text.rpartition(".")
        if not (session and re.fullmatch(r"[0-9]{1,9}", number)):
            raise InternalTopicError(
                f"{text!r} is not an incarnation",
                hint="only workers of the application may write to its control topics",
            )
        return cls(session, int(number))


def fresh_session() -> str:
    return secrets.token_hex(6)


Process = tuple[str, str]
"""A worker and the session of one of its processes."""


def session_of(incarnation: str) -> str:
    return Incarnation.parse(incarnation).session


def client_id(worker: str, session: str) -> str:
    """How a process is named where one text has to do."""
    return f"{worker}{_MARK}{session}"


class Listed(NamedTuple):
    """A process as the groups list it in which it is: its own, and the one in which the controller
    is elected."""

    worker: str
    session: str
    zone: str = ""

    @property
    def process(self) -> Process:
        return self.worker, self.session

    def __str__(self) -> str:
        return f"{client_id(self.worker, self.session)}{_PLACE}{self.zone}"


def listed_as(client: str) -> Listed | None:
    """Read the client id of a member; None for one that is no worker."""
    found = _LISTED.fullmatch(client)
    return Listed(*found.groups()) if found else None


def somebody() -> str:
    """Who asks for something, for those who look later."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
