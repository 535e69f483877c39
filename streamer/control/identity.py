"""Who a worker is: its id, the session of one process, the incarnation that may own tasks.

    worker       `w1`             stable over restarts; names the transactional id and the disk
    session      `9f3c01aa6b52`   random; one process from its start to its end
    incarnation  `9f3c01aa6b52.2` the session's third life: counted up each time it was fenced

Within a session a higher number proves that the lower ones are fenced, because a process makes its
producer anew before it takes a new number. Between sessions nothing can be said about the order.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from streamer.errors import InternalTopicError

__all__ = ["Incarnation", "client_id", "fresh_session", "session_of", "worker_and_session"]

_MARK = "#"


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


def session_of(incarnation: str) -> str:
    return Incarnation.parse(incarnation).session


def client_id(worker: str, session: str) -> str:
    """Under which a process is listed in the members group."""
    return f"{worker}{_MARK}{session}"


def worker_and_session(client: str) -> tuple[str, str] | None:
    """The parts of `client_id`; None for a member that is no worker."""
    worker, mark, session = client.rpartition(_MARK)
    return (worker, session) if mark and worker and session else None
