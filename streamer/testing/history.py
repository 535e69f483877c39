"""The history checker: proves of a run that nothing was lost, doubled or reordered for any key.

It compares what is on record (inputs and outputs read back from their topics, state, changelog,
committed positions) with a plain model: a function from the input records to the sequence of
results of each key. It shares nothing with the engine.

    history = History(inputs=..., outputs=..., state=...)
    verdict = check(history, per_key(Spend, add))
    assert verdict, verdict
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from streamer.ids import TopicPartition
from streamer.record import Record
from streamer.testing.verdict import Verdict

__all__ = ["History", "Model", "check", "per_key"]

# Results by key, in the order in which they come to be; None where a result is removed.
Model = Callable[[Iterable[Record]], Mapping[Any, Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class History:
    """What is on record of a run, decoded; what is None is not checked.

    `inputs` and `outputs` hold the records of each partition in the order of their offsets.
    `ends` are those of the input partitions of which `committed` has the group's positions.
    """

    inputs: Sequence[Record]
    outputs: Sequence[Record] | None = None
    state: Mapping[Any, Any] | None = None
    changelog: Mapping[Any, Any] | None = None
    committed: Mapping[TopicPartition, int] | None = None
    ends: Mapping[TopicPartition, int] | None = None


def per_key(initial: Callable[[], Any], step: Callable[[Any, Any, Any], Any]) -> Model:
    """The model of `aggregate(initial, step)`: records without key or value are left out."""

    def model(records: Iterable[Record]) -> dict[Any, list[Any]]:
        results: dict[Any, list[Any]] = {}
        for record in records:
            if record.key is None or record.value is None:
                continue
            before = results.setdefault(record.key, [])
            last = before[-1] if before else None
            # A copy: a step may change its aggregate in place.
            start = initial() if last is None else _copied(last)
            before.append(step(record.key, record.value, start))
        return results

    return model


def check(
    history: History,
    model: Model,
    *,
    emit: Literal["commit", "every", "final"] = "commit",
    final: Mapping[Any, Any] | None = None,
) -> Verdict:
    """Compare a history with its model.

    The results of a key must be, with `emit="every"`, the model's; with `"commit"`, some of them in
    the same order, the last one included; with `"final"`, the last one alone. `final` is what the
    state must hold, where that is not the last result of every key, as with a retention.
    """
    results = {
        key: [_plain(value) for value in values] for key, values in model(history.inputs).items()
    }
    verdict = Verdict(inputs=len(history.inputs), keys=len(results))
    if history.outputs is not None:
        verdict.outputs = len(history.outputs)
        verdict.checked.append("outputs")
        _check_outputs(verdict, results, history.outputs, emit)
    wanted = {key: values[-1] for key, values in results.items() if values}
    if final is not None:
        wanted = {key: _plain(value) for key, value in final.items()}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    for name, found in (("state", history.state), ("changelog", history.changelog)):
        if found is not None:
            verdict.checked.append(name)
            _check_state(verdict, name, wanted, found)
    if history.committed is not None and history.ends is not None:
        verdict.checked.append("positions")
        _check_positions(verdict, history.committed, history.ends)
    return verdict


# -- outputs ---------------------------------------------------------------------------------------


def _check_outputs(
    verdict: Verdict, results: Mapping[Any, list[Any]], outputs: Sequence[Record], emit: str
) -> None:
    found: dict[Any, list[Any]] = {}
    homes: dict[Any, set[int | None]] = {}
    for record in outputs:
        found.setdefault(record.key, []).append(_plain(record.value))
        homes.setdefault(record.key, set()).add(record.partition)
    for key, wanted in results.items():
        expected = wanted[-1:] if emit == "final" else wanted
        _check_key(verdict, key, expected, found.get(key, []), every=emit != "commit")
    for key in found.keys() - results.keys():
        verdict.add("extra", key, f"key {key!r} has results, but no input: {found[key]!r}")
    for key, places in homes.items():
        if len(places) > 1:
            shown = ", ".join(map(str, sorted(places, key=str)))
            verdict.add("misplaced", key, f"results of key {key!r} lie in partitions {shown}")


def _check_key(
    verdict: Verdict, key: Any, wanted: list[Any], found: list[Any], *, every: bool
) -> None:
    if found == wanted if every else _is_part(found, wanted) and found[-1:] == wanted[-1:]:
        return
    texts = list(map(repr, wanted)), list(map(repr, found))
    missing, surplus = Counter(texts[0]) - Counter(texts[1]), Counter(texts[1]) - Counter(texts[0])
    sequences = f"key {key!r}\n    expected {_listed(wanted)}\n    found    {_listed(found)}"
    strange = [text for text in surplus if text not in texts[0]]
    if strange:
        verdict.add("wrong", key, f"a result that never was, {strange[0]}: {sequences}")
    elif surplus:
        verdict.add("doubled", key, f"{next(iter(surplus))} came more than once: {sequences}")
    elif not _is_part(found, wanted):
        verdict.add("reordered", key, sequences)
    elif every:
        verdict.add("lost", key, f"{missing.total()} results are missing: {sequences}")
    else:
        verdict.add("lost", key, f"the last result is missing: {sequences}")


def _is_part(part: Sequence[Any], whole: Sequence[Any]) -> bool:
    """Whether all items of `part` are in `whole`, in this order."""
    left = iter(whole)
    return all(any(item == other for other in left) for item in part)


def _listed(values: Sequence[Any]) -> str:
    return "nothing" if not values else ", ".join(map(repr, values))


# -- state and positions ---------------------------------------------------------------------------


def _check_state(
    verdict: Verdict, name: str, wanted: Mapping[Any, Any], found: Mapping[Any, Any]
) -> None:
    held = {key: _plain(value) for key, value in found.items()}
    for key, value in wanted.items():
        if key not in held:
            verdict.add("state", key, f"the {name} lacks key {key!r}: expected {value!r}")
        elif held[key] != value:
            verdict.add(
                "state", key, f"the {name} of key {key!r}: expected {value!r}, found {held[key]!r}"
            )
    for key in held.keys() - wanted.keys():
        verdict.add("state", key, f"the {name} has key {key!r} too many: {held[key]!r}")


def _check_positions(
    verdict: Verdict,
    committed: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> None:
    for place, end in ends.items():
        position = committed.get(place)
        if position is None and end > 0:
            verdict.add("offsets", place, f"{place} ends at {end}, and nothing is committed")
        elif position is not None and position != end:
            verdict.add("offsets", place, f"{place} ends at {end}, committed is {position}")


def _plain(value: Any) -> Any:
    """A value without its class, so that a model may use plain dictionaries."""
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return value


def _copied(value: Any) -> Any:
    """A copy through bytes, as a store would make it."""
    encoded = msgspec.msgpack.encode(value)
    return msgspec.msgpack.decode(encoded, type=type(value))
