"""Points in time as tests write them: ISO-8601 text, a datetime, or milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamer.errors import ConfigError

__all__ = ["Moment", "milliseconds_of"]

Moment = str | datetime | int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds_of(moment: Moment) -> int:
    """Milliseconds since 1970. Text and datetimes without a zone are UTC.

    Raises ConfigError for anything else.
    """
    if isinstance(moment, bool) or not isinstance(moment, str | datetime | int):
        raise ConfigError(f"{moment!r} is no point in time", hint=_POSSIBLE)
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise ConfigError(f"{moment!r} is no point in time: {error}", hint=_POSSIBLE) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


_POSSIBLE = 'such as "2026-01-01T00:10Z", a datetime, or milliseconds since 1970'
