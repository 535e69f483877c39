"""What goes without a person at most: set by who runs Airflow, and only lowered by a form.

    [streamer]
    trim_bytes_max = 10GiB              for all connections
    trim_bytes_max__shop = 0            for the connection shop: always ask

Whoever may trigger a DAG fills its form in. So a form's own limit is the smaller of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import conf

from streamer.config.values import bytes_of
from streamer.operations.words import size

__all__ = ["LIMITS", "Limit", "limits_of", "most"]

_SECTION = "streamer"
_GIB = 1 << 30
# By the option's name. A name with `bytes` in it takes and shows sizes.
LIMITS: Mapping[str, int] = {
    "trim_bytes_max": 10 * _GIB,
    "rebalance_bytes_max": 50 * _GIB,
    "rebalance_tasks_max": 50,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` is what the option allows, `wanted` what a form says."""

    option: str
    most: int
    wanted: int

    @property
    def value(self) -> int:
        return min(self.most, self.wanted)

    @property
    def text(self) -> str:
        """For the question: what holds, and whose word it is."""
        show: Callable[[int], str] = size if "bytes" in self.option else "{:,} tasks".format
        by = "the form" if self.wanted < self.most else f"`[{_SECTION}] {self.option}`"
        return f"{show(self.value)}, by {by}"


def limits_of(named: Mapping[str, str], conn_id: str, params: Mapping[str, Any]) -> list[Limit]:
    """What holds for a run: `named` has the option by the field of the form. Raises ValueError as
    `most`."""
    return [
        Limit(option, most(option, conn_id), int(params[field])) for field, option in named.items()
    ]


def most(option: str, conn_id: str) -> int:
    """What `[streamer] OPTION__CONNECTION` says, else `[streamer] OPTION`, else the default.

    Raises ValueError, which shows as an import error of the DAGs, where it is no number.
    """
    for name in (f"{option}__{conn_id}", option):
        text = str(conf.get(_SECTION, name, fallback="") or "").strip()
        if text:
            return _number(name, text)
    return LIMITS[option]


def _number(name: str, text: str) -> int:
    number = bytes_of(text) if "bytes" in name.partition("__")[0] else None
    if number is None and text.isdecimal():
        number = int(text)
    if number is None or number < 0:
        raise ValueError(
            f"[{_SECTION}] {name} is {text!r}, and must be a whole number of 0 or more"
            + (", or a size such as 10GiB" if "bytes" in name else "")
        )
    return number
