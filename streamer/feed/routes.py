"""Where the records of a changelog go: the task of the new layout that their keys belong to.

Keys and rows are looked at before anything is written. A record whose home cannot be told stops its
feed, with the record's address: no row may be left out, and none may go where it does not belong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from streamer.changelog.format import check_rows
from streamer.errors import ProcessingError, StreamerError
from streamer.feed.plan import FeedPlan, FeedStore
from streamer.record import RawBatch
from streamer.split.homes import Homes
from streamer.split.keyed import KeysOf, keys_of_rows
from streamer.topology.stores import StoreKind, StoreSpec

if TYPE_CHECKING:
    from streamer.split.vectors import Numbers

__all__ = ["Route", "routes"]

# What lies beside the record's key in a stored key: a window's start, a session's two ends.
_BESIDE = {StoreKind.KEY_VALUE: 0, StoreKind.WINDOW: 8, StoreKind.SESSION: 16}
_SHOWN = 64


class _Address(TypedDict):
    topic: str
    partition: int
    offset: int
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Route:
    """Of one store. Its records lie in the partition that is `here`, and go to that `there`."""

    store: FeedStore
    here: Homes
    there: Homes
    keys_of: KeysOf

    def homes(self, batch: RawBatch) -> tuple[Numbers, Numbers]:
        """The tasks of each record: that in which it lies, and that to which it goes.

        Raises ProcessingError with the address of a record whose home cannot be told or is not
        where it was found, and InternalTopicError or TaskCorruptedError for rows that no store of
        this kind has written.
        """
        self._check_rows(batch)
        keys = self._stored_keys(batch)
        try:
            here, there = _tasks_of(self.keys_of(keys), self.here, self.there)
        except ProcessingError as error:
            raise self._named(batch, keys, error) from error
        if (strays := here != batch.partition).any():
            raise self._astray(batch, int(strays.argmax()), int(strays.sum()))
        return here, there

    def _check_rows(self, batch: RawBatch) -> None:
        try:
            check_rows(batch.place, self.store.kind, batch.values)
        except StreamerError as error:
            for value, offset in zip(batch.values, batch.offsets, strict=True):
                try:
                    check_rows(batch.place, self.store.kind, [value])
                except StreamerError as first:
                    raise type(first)(
                        f"{first.message}, first at offset {offset}", hint=first.hint
                    ) from error
            raise

    def _stored_keys(self, batch: RawBatch) -> Sequence[bytes]:
        keys = batch.keys
        if None not in keys and min(map(len, keys), default=0) >= _BESIDE[self.store.kind]:  # type: ignore[arg-type]
            return keys  # type: ignore[return-value]
        least = _BESIDE[self.store.kind]
        row = next(row for row, key in enumerate(keys) if key is None or len(key) < least)
        what = "no key" if keys[row] is None else f"a key of {len(keys[row] or b'')} bytes"
        raise ProcessingError(
            f"a record of store {self.store.name} has {what}, so its home cannot be told",
            **_address(batch, row),
            hint=f"a {self.store.kind.value} store writes keys of {least} bytes and more, and only"
            " the application may write to its changelogs: find out who else did. The feed goes on"
            " behind it once the operation is cancelled and planned anew",
        )

    def _named(
        self, batch: RawBatch, keys: Sequence[bytes], error: ProcessingError
    ) -> ProcessingError:
        """The same with the address of the record, found one by one."""
        for row, key in enumerate(keys):
            try:
                _tasks_of(self.keys_of([key]), self.here, self.there)
            except ProcessingError as again:
                return ProcessingError(again.message, **_address(batch, row), hint=again.hint)
        return error

    def _astray(self, batch: RawBatch, row: int, count: int) -> ProcessingError:
        key = batch.keys[row] or b""
        home = self.here.home(self.keys_of([key])[0])
        return ProcessingError(
            f"{count:,} of {len(batch):,} records of store {self.store.name} lie in task"
            f" {batch.partition} and belong to others by their keys, the first to {home} of"
            f" {self.here}",
            **_address(batch, row),
            hint="where `process` writes them under other keys than its records', name theirs by"
            " Store(partition_key=...); else producers have another partitioner than the"
            " application declares: app.stream(..., partitioner=...)",
        )


def _address(batch: RawBatch, row: int) -> _Address:
    key = batch.keys[row]
    return {
        "topic": batch.topic,
        "partition": batch.partition,
        "offset": batch.offsets[row],
        "key": key if key is None else key[:_SHOWN],
    }


def routes(
    plan: FeedPlan, specs: Iterable[StoreSpec], *, is_back: bool = False
) -> dict[str, Route]:
    """By source topic; with `is_back` by target topic, from there to the source. `specs` are the
    subtopology's stores, with serdes that are bound where they have a `partition_key`.

    Raises OperationRefusedError where they are not those of the plan, TopologyError where a
    declared partitioner cannot be found.
    """
    bound = plan.bound(specs)
    here, there = plan.homes()
    if is_back:
        here, there = there, here
    return {
        store.target if is_back else store.source: Route(
            store, here, there, keys_of_rows(store.kind, bound.get(store.name))
        )
        for store in plan.stores
    }


def _tasks_of(keys: Sequence[bytes], *homes: Homes) -> list[Numbers]:
    # numpy, as in streamer.feed.sums.
    from streamer.split.vectors import tasks_of

    return tasks_of(keys, *homes)
