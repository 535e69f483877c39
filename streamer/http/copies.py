"""Answers from copies: when a client takes one, and how an answer says that it is from one.

A standby reads the changelogs behind the owner, so it has what was committed, but not all of it. It
answers when the client says how much may be missing, or when the owner cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from streamer.http.requests import Request
from streamer.http.serving import ServedTask

__all__ = ["Wish", "copy_headers", "standing", "wish_of"]


@dataclass(frozen=True, slots=True)
class Wish:
    """Copies that lack at most `limit` records may answer, none where it is None. `at_once`: one
    that is here may, without the owner being asked."""

    limit: int | None
    at_once: bool = False

    def takes(self, lag_records: int | None) -> bool:
        """Whether a copy that lacks so many records may answer."""
        if lag_records is None or self.limit is None:
            return False
        return 0 <= lag_records <= self.limit


def wish_of(request: Request, acceptable_lag: int) -> Wish:
    """What a request says of copies. `acceptable_lag` holds where it says nothing."""
    max_lag = request.records("max_lag")
    if request.copy_limit is not None:
        return Wish(request.copy_limit, at_once=True)
    if max_lag is None:
        return Wish(acceptable_lag)
    # A copy that lacks nothing by its own account may lack what was just committed: 0 means none.
    return Wish(max_lag or None, at_once=True)


def standing(task: ServedTask) -> dict[str, Any]:
    """How old an answer from this task is, and whether it is from a copy."""
    if not task.is_copy:
        return {"stream_time_ms": task.stream_time_ms, "lag_records": task.lag_records}
    known_ms = task.stream_time_ms if task.stream_time_ms >= 0 else None
    told = {"stream_time_ms": known_ms, "lag_records": task.behind, "role": "standby"}
    return told if task.age_ms is None else {**told, "age_ms": task.age_ms}


def copy_headers(lags: Iterable[int | None]) -> dict[str, str]:
    """The headers of an answer to which copies that lack so many records have contributed."""
    found = [lag for lag in lags if lag is not None]
    return {"Streamer-Role": "standby", "Streamer-Lag": str(max(found))} if found else {}
