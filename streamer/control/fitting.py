"""A status that fits into one record, however many tasks a worker has."""

from __future__ import annotations

from msgspec.structs import replace

from streamer.control.messages import StatusRecord, encode
from streamer.errors import ConfigError

__all__ = ["STATUS_BYTES_MAX", "fitted"]

# Brokers and clients take records of 1,000,000 bytes and a little more by default.
STATUS_BYTES_MAX = 900_000


def fitted(status: StatusRecord, bytes_max: int = STATUS_BYTES_MAX) -> tuple[bytes, str]:
    """The record, and what was left out of it; "" where all of it fits.

    First go the positions in the inputs, by which lags are told of owners that are gone, and then
    those in the changelogs, without which nothing below a task's snapshots is trimmed. Who owns
    what, and how far it is, always stays: raises ConfigError where that alone is too much.
    """
    value = encode(status)
    if len(value) <= bytes_max:
        return value, ""
    bare = {name: replace(one, positions={}) for name, one in status.tasks.items()}
    value = encode(replace(status, tasks=bare))
    if len(value) <= bytes_max:
        return value, "the positions in the inputs"
    bare = {name: replace(one, durable={}) for name, one in bare.items()}
    copies = {name: replace(one, durable={}) for name, one in status.standbys.items()}
    shadows = {name: replace(one, durable={}) for name, one in status.shadows.items()}
    value = encode(replace(status, tasks=bare, standbys=copies, shadows=shadows))
    if len(value) <= bytes_max:
        return value, "the positions in inputs and changelogs"
    count = len(status.standbys) + len(status.shadows)
    raise ConfigError(
        f"the status of worker {status.worker} takes {len(value)} bytes, for {len(status.tasks)}"
        f" tasks and {count} copies: at most {bytes_max} fit into a record",
        hint="start more workers, so that each has fewer tasks, or lower standby_replicas",
    )
