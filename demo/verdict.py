"""Is everything that the workers stored and wrote what a plain computation gives? All of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from demo.answer import Answer, Profile, Spent, answer, differences
from demo.cdnow import Purchase
from demo.topics import PARTITIONS, Topics
from demo.workers import Stored, Worker

__all__ = ["Verdict", "compare"]

Say = Callable[[str], None]


@dataclass(slots=True)
class Verdict:
    """What was compared, and what was wrong; `wrong` is empty if all is equal."""

    profiles: int = 0
    spending: int = 0
    results: int = 0
    wrong: list[str] = field(default_factory=list)


def compare(
    purchases: Iterable[Purchase],
    *,
    workers: Sequence[Worker],
    topics: Topics,
    output: str,
    say: Say,
) -> Verdict:
    """Raises OSError where a worker does not answer."""
    say("computing the same from the same purchases by polars")
    expected = answer(purchases)
    verdict = Verdict(len(expected.profiles), len(expected.spending))
    say(
        f"reading the stores over HTTP: {verdict.profiles:,} profiles, {verdict.spending:,} windows"
    )
    verdict.wrong += _stored_profiles(expected, _stored(workers, "profiles"))
    verdict.wrong += _stored_spending(expected, _stored(workers, "spending"))
    say(f"reading {output}: the newest result of every customer")
    newest, verdict.results = topics.newest(output)
    decode = msgspec.json.Decoder(dict[str, int | str]).decode
    written = {int(key): Profile(**decode(value)) for key, value in newest.items()}  # type: ignore[arg-type]
    verdict.wrong += differences(f"newest profile in {output}", expected.profiles, written)
    return verdict


def _stored(workers: Sequence[Worker], store: str) -> list[Stored]:
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(lambda worker: worker.stored(store), workers))


def _stored_profiles(expected: Answer, parts: Sequence[Stored]) -> list[str]:
    found = {int(row["key"]): Profile(**row["value"]) for part in parts for row in part.rows}
    return _not_one_owner(parts) + differences("stored profile", expected.profiles, found)


def _stored_spending(expected: Answer, parts: Sequence[Stored]) -> list[str]:
    found = {
        (int(row["key"]), row["start_ms"]): Spent(**row["value"])
        for part in parts
        for row in part.rows
    }
    return _not_one_owner(parts) + differences("stored spending", expected.spending, found)


def _not_one_owner(parts: Sequence[Stored]) -> list[str]:
    """Each task's rows must have come from one worker, and from exactly one."""
    tasks = sorted(task for part in parts for task in part.tasks)
    wanted = sorted(f"0_{number}" for number in range(PARTITIONS))
    return [] if tasks == wanted else [f"rows came from tasks {tasks}, not one of each {wanted}"]
