"""What stands beside a committed position: what the group knows of a task that has lost its disk.

    2:<stream time ms>:<mark>,<mark>=<lag>,<mark>@<lag>.<rows>,...

The stream time, so that it goes on with the time it had (KAFKA-9368 does the same). A mark of each
topic that it reads, so that an input which is new is told from a position that is lost, and of each
store with its kind, so that one which became another kind is known even where its changelog is
still empty. A windowed store's own time is a hexadecimal lag behind the task's, left out where it
is none; without lags it is what was written before those times were kept. Behind an @ stands how
far a store has passed on final results, while some are left (`Closing`): the time as a lag, and the
rows, both hexadecimal. Behind a ^, while some are left, stands how far the parents of the task had
come (`Passed`): how many tasks there were, m or c for their partitioner, the first parent, how far
apart parents are, and the lag of each. Behind a > of a topic that was grown stands up to where
strays of its partition were forwarded, and behind a ! when the last stray came, in ms since 1970:
hexadecimal as well. A ~ says that none is expected any more. Version 1 had no marks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamer.store.closing import Closing, Passed
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Metadata", "input_mark", "marks", "store_mark"]

_VERSION = "2"
_VERSION_WITHOUT_MARKS = "1"
# The default of offset.metadata.max.bytes.
_LENGTH_MAX = 4096
# In an entry that is no mark of a topic or store.
_OTHERS = frozenset("@>!~^")
_LETTERS: Mapping[str, Literal["murmur2", "consistent"]] = {"m": "murmur2", "c": "consistent"}


@dataclass(frozen=True, slots=True)
class Metadata:
    """-1 and no marks where they are not known. `times` are by marks of stores; a store that is
    marked and has none there has the task's. `closings` that are complete are not written.
    `passed` is by marks of stores, `forwarded` by marks of topics; `stray_ms` is -1
    where no stray ever came; `is_quiet` once none is expected any more."""

    stream_time_ms: int = -1
    marks: frozenset[str] = frozenset()
    times: Mapping[str, int] = field(default_factory=dict)
    closings: Mapping[str, Closing | None] = field(default_factory=dict)
    forwarded: Mapping[str, int] = field(default_factory=dict)
    stray_ms: int = -1
    is_quiet: bool = False
    passed: Mapping[str, Passed] = field(default_factory=dict)

    @classmethod
    def decode(cls, text: str) -> Metadata:
        """Nothing is known where another program committed the position."""
        version, _, rest = text.partition(":")
        time, _, known = rest.partition(":")
        if version not in (_VERSION, _VERSION_WITHOUT_MARKS) or not time.lstrip("-").isdigit():
            return cls()
        entries = [entry for entry in known.split(",") if entry]
        found = [entry.partition("=") for entry in entries if not _OTHERS & set(entry)]
        times = {mark: int(time) - int(lag, 16) for mark, _, lag in found if lag}
        closings: dict[str, Closing | None] = {}
        for mark, _, place in (entry.partition("@") for entry in entries if "@" in entry):
            lag, _, rows = place.partition(".")
            closings[mark] = Closing(int(time) - int(lag, 16), int(rows, 16))
        split = [entry.partition(">") for entry in entries if ">" in entry]
        forwarded = {mark: int(position, 16) for mark, _, position in split}
        stray_ms = max((int(entry[1:], 16) for entry in entries if entry[0] == "!"), default=-1)
        known_marks = frozenset(mark for mark, _, _ in found)
        is_quiet = "~" in entries
        noted = [entry.partition("^") for entry in entries if "^" in entry]
        passed = {mark: _passed(text, int(time)) for mark, _, text in noted}
        return cls(int(time), known_marks, times, closings, forwarded, stray_ms, is_quiet, passed)

    def encode(self) -> str:
        """Where a broker would refuse the length, the stores with the least lags lose them: those
        go on with the task's time, which costs the least for them."""
        lags = {mark: self.stream_time_ms - time for mark, time in self.times.items()}
        head = f"{_VERSION}:{self.stream_time_ms}:"
        entries = {mark: mark for mark in sorted(self.marks)}
        # Never left out: what is not passed on yet would not be.
        for mark, place in sorted(self.closings.items()):
            if place is not None:
                lag = self.stream_time_ms - place.time_ms
                entries[mark + "@"] = f"{mark}@{lag:x}.{place.rows:x}"
        # Without it they would be passed on twice.
        for mark, one in sorted(self.passed.items()):
            entries[mark + "^"] = f"{mark}^{_passed_text(one, self.stream_time_ms)}"
        # Nor this: strays would be forwarded twice.
        entries |= {mark + ">": f"{mark}>{at:x}" for mark, at in sorted(self.forwarded.items())}
        if self.stray_ms >= 0:
            entries["!"] = f"!{self.stray_ms:x}"
        if self.is_quiet:
            entries["~"] = "~"
        left = _LENGTH_MAX - len(head) - sum(len(entry) + 1 for entry in entries.values())
        # A time ahead of the task's comes first: going back, it would close windows twice.
        for mark, lag in sorted(lags.items(), key=lambda item: (item[1] >= 0, -item[1])):
            suffix = f"={lag:x}" if lag else ""
            left -= len(suffix)
            if left < 0:
                break
            entries[mark] = mark + suffix
        return head + ",".join(entries.values())

    def time_of(self, mark: str) -> int | None:
        """A marked store's time; None for a store that was not there."""
        return self.times.get(mark, self.stream_time_ms) if mark in self.marks else None


def _passed_text(passed: Passed, time_ms: int) -> str:
    parents = sorted(passed.times)
    apart = parents[1] - parents[0] if parents[1:] else 1
    lags = [f"{time_ms - passed.times[parent]:x}" for parent in parents]
    numbers = [f"{passed.tasks:x}", passed.partitioner[0], f"{parents[0]:x}", f"{apart:x}"]
    return ".".join(numbers + lags)


def _passed(text: str, time_ms: int) -> Passed:
    tasks, letter, first, apart, *lags = text.split(".")
    times = {
        int(first, 16) + place * int(apart, 16): time_ms - int(lag, 16)
        for place, lag in enumerate(lags)
    }
    return Passed(int(tasks, 16), _LETTERS[letter], times)


def input_mark(topic: str) -> str:
    return _mark(topic)


def store_mark(store: str, kind: StoreKind) -> str:
    # No name of a topic has a space.
    return _mark(f"{store} {kind.value}")


def marks(topics: Iterable[str], stores: Iterable[StoreSpec]) -> frozenset[str]:
    """All marks of a task."""
    return frozenset(
        [input_mark(topic) for topic in topics]
        + [store_mark(spec.name, spec.kind) for spec in stores]
    )


def _mark(name: str) -> str:
    """Of fixed length: brokers refuse metadata of more than 4 KiB by default."""
    return f"{zlib.crc32(name.encode()):08x}"
