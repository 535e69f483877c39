"""`Operator`: a node at work in one task, and the way it calls user functions.

`call` runs a function over whole columns at the speed of `map`, and still knows which record an
exception belongs to: a list keeps what it was extended with before the iterator raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from streamer.engine.batch import Batch
from streamer.engine.policy import Policy
from streamer.errors import RAISED_BY_USERS

__all__ = ["FAILED", "Operator"]

Errors = Mapping[bytes, Exception]


class _Failed:
    def __repr__(self) -> str:
        return "FAILED"


FAILED: Final = _Failed()


class Operator:
    """One node in one task. `run` handles a batch; `flush` passes on what waited for the commit."""

    stage = "processing"

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self.policy = policy
        self.children: list[Operator] = []
        # Whether rows that this operator makes of one record meet again behind different ways.
        self.keeps_order = False

    def run(self, batch: Batch) -> None:
        raise AssertionError(f"{self.name} does not take records")

    def flush(self, stream_time_ms: int) -> None:
        """Pass on results held back until the commit. Called in topological order."""

    def end_of_batch(self) -> None:
        """Called after all records of a source batch went through, in topological order."""

    def abort(self) -> None:
        """Forget all since the last commit."""

    def forward(self, batch: Batch) -> None:
        if len(batch.values):
            for child in self.children:
                child.run(batch)

    def refuse_keys(self, batch: Batch, row_keys: Sequence[bytes], errors: Errors) -> list[int]:
        """Report the rows whose keys cannot be decoded, once for each record; the rows left."""
        refused: set[int] = set()
        left: list[int] = []
        for row, row_key in enumerate(row_keys):
            error = errors.get(row_key)
            if error is None:
                left.append(row)
            elif batch.index[row] not in refused:
                refused.add(batch.index[row])
                self.policy.failed(batch, row, error=error, node=self.name, stage="deserialization")
        return left

    def call(
        self, function: Callable[..., Any], batch: Batch, *columns: Sequence[Any]
    ) -> tuple[list[Any], list[int] | None]:
        """`function` over the columns, and the rows that are left if some failed and were
        skipped (None: all). Raises ProcessingError when the policy is to stop."""
        results: list[Any] = []
        calls = map(function, *columns)
        failed = False
        while True:
            try:
                results.extend(calls)
                if len(results) == len(batch):
                    break
                # It ends an iteration, so the function's own would lose the records behind it.
                raise RuntimeError("the function raised StopIteration")
            except RAISED_BY_USERS as error:
                self.policy.failed(
                    batch, len(results), error=error, node=self.name, stage=self.stage
                )
                results.append(FAILED)
                failed = True
        if not failed:
            return results, None
        left = [row for row, result in enumerate(results) if result is not FAILED]
        return [results[row] for row in left], left
