"""Names that a form has and the application has not: the nearest ones that it has.

Forms take what is typed in, since what was told of an application may be older than it is. Whoever
plans refuses a name that there is not; here its hint gets the name that was probably meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from streamer.config import Config
from streamer.errors import OperationRefusedError, StreamerError
from streamer_airflow.choices import choices_of

__all__ = ["nearest", "with_nearest_names"]

# How alike two names must be, of 1: `0_33` and `0_3` are, `totals` and `closed` are not.
_ALIKE = 0.6


def nearest(wanted: Collection[str], known: Collection[str]) -> str:
    """`0_33: is it 0_3?`, for each that is not known and is like one that is; else ""."""
    said = []
    for name in sorted(set(wanted) - set(known)):
        said += [f"{name}: is it {each}?" for each in get_close_matches(name, known, 1, _ALIKE)]
    return " ".join(said)


@contextmanager
def with_nearest_names(config: Config, wanted: Mapping[str, Any]) -> Iterator[None]:
    """Adds them to a refusal. `wanted` has what is asked for: `task`, `tasks`, `stores`,
    `worker`, `zone`."""
    try:
        yield
    except OperationRefusedError as refused:
        said = _looked(config, wanted)
        if not said:
            raise
        hint = " ".join(filter(None, [said, refused.hint]))
        raise OperationRefusedError(refused.message, hint=hint) from refused


def _looked(config: Config, wanted: Mapping[str, Any]) -> str:
    tasks = [*(wanted.get("tasks") or ()), *filter(None, [wanted.get("task")])]
    stores, workers = wanted.get("stores") or (), list(filter(None, [wanted.get("worker")]))
    zones = list(filter(None, [wanted.get("zone")]))
    if not (tasks or stores or workers or zones):
        return ""
    try:
        known = choices_of(config)
    except StreamerError:
        # The refusal is what counts; this would only have made it kinder.
        return ""
    found = (
        nearest(tasks, known.tasks),
        nearest(stores, known.stores),
        nearest(workers, known.workers),
        nearest(zones, known.zones),
    )
    return " ".join(filter(None, found))
