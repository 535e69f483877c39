"""An application that counts, with rows of 500 bytes: what ``bench.repartition`` folds.

The events of a key are numbered from 1, so a row knows whether all of them came, in their order.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import shake_128

import msgspec

from bench.systems import Case
from streamer import App

ROW_BYTES = 500
_RANDOM_BYTES = 324


class Result(msgspec.Struct):
    """What is sent on: how many events there were, the number of the last one, and how many came
    when another one was due."""

    count: int = 0
    last: int = 0
    disorder: int = 0


class Row(msgspec.Struct):
    """The same, and letters that do not compress to nothing."""

    count: int = 0
    last: int = 0
    disorder: int = 0
    letters: str = ""


def add(key: str, number: int, row: Row) -> Row:
    letters = row.letters or b64encode(shake_128(key.encode()).digest(_RANDOM_BYTES)).decode()
    return Row(row.count + 1, number, row.disorder + (number != row.last + 1), letters)


def shown(row: Row) -> Result:
    return Result(row.count, row.last, row.disorder)


CASE = Case.from_environment()

app = App(
    CASE.application,
    bootstrap_servers=CASE.bootstrap,
    state_dir=CASE.state / f"worker-{CASE.process}",
    commit_interval_ms=CASE.commit_ms,
)
(
    app.stream(CASE.source, key=str, value=int)
    .group_by_key()
    .aggregate(Row, add, store="rows")
    .map_values(shown)
    .to(CASE.target)
)
