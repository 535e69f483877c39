"""What the administrator of Airflow sets for all DAGs, in section [streamer]: read from the
configuration in memory, so that a DAG's file asks nobody when it is imported."""

from __future__ import annotations

import json
from dataclasses import dataclass

from airflow.sdk import conf

__all__ = ["Choices", "choices", "connections", "has_schedules", "heavy_queue", "replay_interval"]

_SECTION = "streamer"
DEFAULT = "streamer_default"


@dataclass(frozen=True, slots=True)
class Choices:
    """What forms can offer of one application; empty where nobody has told."""

    stores: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    """That it reads."""


def connections() -> tuple[str, ...]:
    """Connections that get DAGs: AIRFLOW__STREAMER__CONNECTIONS."""
    text = conf.get(_SECTION, "connections", fallback=DEFAULT) or ""
    return tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def has_schedules() -> bool:
    """Whether DAGs run by themselves: AIRFLOW__STREAMER__SCHEDULES. One of them deletes, so none
    does before somebody says so."""
    return bool(conf.getboolean(_SECTION, "schedules", fallback=False))


def replay_interval() -> str:
    """How long the intervals of a backfill of `replay` are: AIRFLOW__STREAMER__REPLAY_INTERVAL."""
    return str(conf.get(_SECTION, "replay_interval", fallback="") or "@daily")


def heavy_queue() -> str:
    """Where tasks that read whole snapshots or copy changelogs run; "" for the default queue."""
    return str(conf.get(_SECTION, "heavy_queue", fallback="") or "")


def choices(connection: str) -> Choices:
    """What `python -m streamer_airflow.choices` has printed of an application, if anything.

    Raises ValueError, which shows as an import error of the DAGs, where it cannot be read.
    """
    text = conf.get(_SECTION, "choices", fallback="{}") or "{}"
    try:
        found = json.loads(text).get(connection, {})
        return Choices(**{name: tuple(map(str, each)) for name, each in found.items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"[{_SECTION}] choices is not what streamer_airflow.choices prints: {error}"
        ) from error
