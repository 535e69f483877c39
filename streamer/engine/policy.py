"""What happens to a record that fails: stop, skip, or send it to the dead letter topic.

A stop raises ProcessingError with topic, partition, offset and key; the worker then halts this task
alone. A dead letter is written in the same transaction as the results around it, so it is there
exactly once; its headers carry the cause (names as in KIP-1034).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamer.engine.batch import Batch
from streamer.errors import (
    ConfigError,
    KafkaUnavailableError,
    MisuseError,
    ProcessingError,
    TopologyError,
)
from streamer.kafka.api import AbortableError
from streamer.record import Headers, RawBatch

__all__ = ["Care", "DeadLetter", "Failure", "Policy"]

_HEADER = "__streamer.errors."
_TEXT_LENGTH_MAX = 2000
# A schema registry that is away or refuses a schema is no fault of the record it happened at, nor
# is what another record left behind.
_NOT_OF_THE_RECORD = (KafkaUnavailableError, ConfigError, TopologyError, AbortableError)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is counted: the stage that failed and what was done about it."""

    stage: str
    action: str


class Care:
    """Whether aggregates are folded with care in this worker: from its first failing record on.

    A function that changes its aggregate and then raises leaves a half-done object behind. So where
    failing records are not to stop the task, the first one aborts the transaction; from then on an
    aggregate's bytes are kept before each call, and put back if it fails. Costs nothing before.
    """

    def __init__(self) -> None:
        self.is_taken = False


DeadLetter = Callable[[bytes | None, bytes | None, Headers], None]


class Policy:
    """Decides for one task. `dead_letter` writes a record; `count` feeds the metrics."""

    def __init__(
        self,
        *,
        task: str,
        processing: str = "stop",
        deserialization: str = "stop",
        production: str = "stop",
        dead_letter: DeadLetter | None = None,
        care: Care | None = None,
        count: Callable[[Failure], None] = lambda _failure: None,
    ) -> None:
        self._task = task
        self.care = care or Care()
        self._actions: dict[str, str] = {
            "processing": processing,
            "deserialization": deserialization,
            "production": production,
        }
        self._dead_letter = dead_letter
        self._count = count
        self._last: dict[str, tuple[str, int, int]] = {}

    @property
    def goes_on(self) -> bool:
        """Whether a record on which user code raises is left out, and those behind it are not."""
        return self._actions["processing"] != "stop"

    def undecodable(self, raw: RawBatch, row: int, *, error: BaseException, part: str) -> None:
        """A source record whose key or value cannot be decoded."""
        self._decide("deserialization", raw, row, error=error, place=f"decoding its {part}")

    def lost(self, raw: RawBatch, row: int, error: BaseException) -> None:
        """A source record whose key has no home that can be told."""
        self._decide("deserialization", raw, row, error=error, place="placing its key")

    def failed(
        self,
        batch: Batch,
        row: int,
        *,
        error: BaseException,
        node: str,
        stage: str = "processing",
    ) -> None:
        """A record on which user code raised, or whose result cannot be encoded (production)."""
        raw = batch.source.raw
        place = f"step {node}"
        if raw is not None:
            self._decide(stage, raw, batch.index[row], error=error, place=place)
            return
        # A result that was flushed: it has no one source record, but its key and value are known.
        key = batch.raw_keys[row] if batch.raw_keys is not None else None
        value = batch.payloads[row] if batch.payloads is not None else None
        flushed = RawBatch(
            topic="(result)",
            partition=-1,
            keys=[key],
            values=[value],
            timestamps=[batch.timestamps[row]],
            offsets=[-1],
        )
        self._decide(stage, flushed, 0, error=error, place=place)

    def _decide(
        self, stage: str, raw: RawBatch, row: int, *, error: BaseException, place: str
    ) -> None:
        if isinstance(error, _NOT_OF_THE_RECORD) and not isinstance(error, MisuseError):
            raise error
        action = self._actions[stage]
        self._count(Failure(stage, action))
        if action == "stop" or isinstance(error, MemoryError):
            remedy = getattr(error, "hint", "") or "mend the code or the record"
            raise ProcessingError(
                f"{type(error).__name__} in {place}: {_shown(error)}",
                topic=raw.topic,
                partition=raw.partition,
                offset=raw.offsets[row],
                key=raw.keys[row],
                hint=f"{remedy}, or set {stage}_error to skip or dead_letter",
            ) from error
        if action == "dead_letter" and self._is_new(raw, row, place):
            assert self._dead_letter is not None
            headers = [*raw.headers_at(row), *self._cause(raw, row, error=error, place=place)]
            self._dead_letter(raw.keys[row], raw.values[row], headers)

    def take_care(self, error: BaseException) -> None:
        """Raise AbortableError if a failure may have left something half-done that is not to stop
        the task: what was done since the last commit is done again, with care."""
        if not self.goes_on or self.care.is_taken:
            return
        self.care.is_taken = True
        raise AbortableError(f"a record failed, {_shown(error)}: again with care") from error

    def abort(self) -> None:
        """Dead letters since the last commit were taken back."""
        self._last.clear()

    def _is_new(self, raw: RawBatch, row: int, place: str) -> bool:
        """Not again for another row that was made of the same record: one dead letter is enough."""
        letter = (raw.topic, raw.partition, raw.offsets[row])
        if raw.partition >= 0 and self._last.get(place) == letter:
            return False
        self._last[place] = letter
        return True

    def _cause(self, raw: RawBatch, row: int, *, error: BaseException, place: str) -> Headers:
        cause: dict[str, Any] = {
            "exception": f"{type(error).__module__}.{type(error).__qualname__}",
            "message": _shown(error),
            "place": place,
            "task": self._task,
            "topic": raw.topic,
            "partition": raw.partition,
            "offset": raw.offsets[row],
            "timestamp": raw.timestamps[row],
        }
        return [(_HEADER + name, str(value).encode()) for name, value in cause.items()]


def _shown(error: BaseException) -> str:
    text = str(error) or repr(error)
    return text if len(text) <= _TEXT_LENGTH_MAX else text[:_TEXT_LENGTH_MAX] + "..."
