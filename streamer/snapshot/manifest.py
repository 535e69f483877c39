"""The manifest of a snapshot: what it is of, which positions it stands at, and which files it has.

It is written last and decides: a snapshot is there when its manifest is. Reading one trusts
nothing: a sum covers its bytes, and every name, size and number has bounds, whoever wrote it.

    {"application":...,"files":[...],...}\\n
    sha256 <64 hexadecimal digits>\\n        of the line above
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from streamer.errors import (
    SnapshotDamagedError,
    SnapshotMismatchError,
    StreamerError,
)
from streamer.ids import Layout, TaskId, TopicPartition, check_application_id

__all__ = [
    "FILES_MAX",
    "MANIFEST_BYTES_MAX",
    "VERSION",
    "File",
    "Manifest",
    "Position",
    "check_identity",
    "check_positions",
    "decode",
    "encode",
]

VERSION = 1
# 1 TB of state in files of 32 MiB is 32,000 files and 7 MB of manifest.
FILES_MAX = 500_000
MANIFEST_BYTES_MAX = 128 * 1024 * 1024

# Not `$`, which also stands before a line break at the end.
_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z"
_SHA256 = r"^[0-9a-f]{64}\Z"
_TAIL = re.compile(rb"\nsha256 ([0-9a-f]{64})\n\Z")

Size = Annotated[int, Meta(ge=0, le=1 << 50)]
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, Meta(max_length=300)]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of RocksDB. `object` is what keeps it, with `stored_size` bytes there."""

    name: Annotated[str, Meta(pattern=_FILE_NAME)]
    size: Size
    sha256: Annotated[str, Meta(pattern=_SHA256)]
    object: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}-[0-9a-f]{32}\Z")]
    stored_size: Size


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next offset to read; `topic_id` is Kafka's, empty where it is not known."""

    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}\Z")]
    partition: Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
    position: Number
    topic_id: Text = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is to be known of a snapshot before a byte of it is fetched."""

    version: int
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    # Order among the snapshots of a task; clocks of hosts differ.
    sequence: Annotated[int, Meta(ge=1, le=10**9)]
    application: Text
    task: Text
    layout: Annotated[int, Meta(ge=1, le=10**6)]
    created_ms: Number
    created_by: Text
    store_format: Text
    # Kind by store.
    stores: dict[Text, Text]
    changelog: list[Position]
    input: list[Position]
    files: Annotated[list[File], Meta(min_length=1, max_length=FILES_MAX)]
    # The id that the snapshot had in the repository which it was copied from.
    origin: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""
    # The operation that asked for it. Written only where there is one: a release without this
    # field refuses such a manifest, and keeps what it cannot read; all others it reads.
    operation: Text | msgspec.UnsetType = msgspec.UNSET

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def objects(self) -> dict[str, int]:
        """What it needs of the repository: stored sizes by the names of objects."""
        return {file.object: file.stored_size for file in self.files}

    @property
    def made_for(self) -> str:
        """The operation that asked for it; "" where none did."""
        return "" if self.operation is msgspec.UNSET else self.operation

    @property
    def stem(self) -> str:
        """Its name among its task's: orders by sequence."""
        return f"{self.sequence:010d}-{self.id}"

    def __str__(self) -> str:
        return f"snapshot {self.id[:12]} of {self.application} {self.task}"


def encode(manifest: Manifest) -> bytes:
    """The same bytes for the same manifest."""
    ordered = msgspec.structs.replace(
        manifest,
        files=sorted(manifest.files, key=lambda file: file.name),
        changelog=sorted(manifest.changelog, key=_place),
        input=sorted(manifest.input, key=_place),
    )
    body = msgspec.json.encode(ordered, order="deterministic")
    return body + b"\nsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n"


def decode(raw: bytes, where: str) -> Manifest:
    """Raises SnapshotDamagedError, or SnapshotMismatchError for a manifest of another version."""
    tail = _TAIL.search(raw[-80:])
    if tail is None:
        raise _damaged(where, "its end is missing")
    body = raw[: len(raw) - len(tail[0])]
    if hashlib.sha256(body).hexdigest().encode() != tail[1]:
        raise _damaged(where, "its sum is wrong")
    try:
        version = _version_decoder.decode(body).version
        if version != VERSION:
            raise SnapshotMismatchError(
                f"{where}: the manifest has version {version}, this version of Streamer reads"
                f" {VERSION}",
                hint="restore with the version that made it, or choose another snapshot",
            )
        manifest = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _damaged(where, str(error)) from error
    _check(manifest, where)
    return manifest


class _Version(msgspec.Struct):
    version: int


# Made here, once: msgspec crashes where several threads meet a type for the first time.
_version_decoder = msgspec.json.Decoder(_Version)
_decoder = msgspec.json.Decoder(Manifest)


def _check(manifest: Manifest, where: str) -> None:
    """What types cannot say."""
    names = {file.name for file in manifest.files}
    if len(names) != len(manifest.files):
        raise _damaged(where, "two files have one name")
    if any(name.endswith(".part") for name in names):
        raise _damaged(where, "a file is named like one that is unfinished")
    if "CURRENT" not in names:
        raise _damaged(where, "there is no file CURRENT, without which it is no database")
    try:
        check_application_id(manifest.application)
        TaskId.parse(manifest.task)
    except StreamerError as error:
        raise _damaged(where, str(error)) from error
    for positions in (manifest.changelog, manifest.input):
        if len({(each.topic, each.partition) for each in positions}) != len(positions):
            raise _damaged(where, "two positions are of one partition")


def check_identity(
    manifest: Manifest, application: str, task: TaskId, *, layout: Layout, store_format: str
) -> None:
    """Raise SnapshotMismatchError for a snapshot of something else."""
    found = (manifest.application, manifest.task, manifest.layout)
    if found != (application, str(task), layout):
        raise SnapshotMismatchError(
            f"{manifest}, layout {manifest.layout}, is not one of {application} {task}, layout"
            f" {layout}",
            hint="nothing was changed; choose a snapshot of this task",
        )
    if manifest.store_format != store_format:
        raise SnapshotMismatchError(
            f"{manifest} has stores of format {manifest.store_format}, this version of Streamer"
            f" reads format {store_format}",
            hint="restore with the version that made it, or from the changelog",
        )


def check_positions(manifest: Manifest, bounds: Mapping[TopicPartition, tuple[int, int]]) -> None:
    """Raise SnapshotMismatchError where a changelog does not reach back to the snapshot, or has not
    come so far. `bounds` has the first offset and the end of each changelog partition."""
    for each in manifest.changelog:
        place = TopicPartition(each.topic, each.partition)
        if place not in bounds:
            raise SnapshotMismatchError(
                f"{manifest} stands at {each.position} of {place}, and the application has no such"
                " changelog",
                hint="the topology was changed since, or it is another cluster's snapshot",
            )
        start, end = bounds[place]
        if each.position < start:
            raise SnapshotMismatchError(
                f"{manifest} stands at {each.position} of {place}, which begins at {start}: what"
                " lies between is gone",
                hint="choose a newer snapshot; without one the task is restored from the changelog",
            )
        if each.position > end:
            raise SnapshotMismatchError(
                f"{manifest} stands at {each.position} of {place}, which ends at {end}: it has seen"
                " changes that this changelog does not have",
                hint="the topic was made anew or lost its end, or it is another cluster's snapshot;"
                " choose an older one",
            )


def _place(position: Position) -> tuple[str, int]:
    return position.topic, position.partition


def _damaged(where: str, why: str) -> SnapshotDamagedError:
    return SnapshotDamagedError(
        f"{where}: the manifest cannot be trusted: {why}",
        hint="choose another snapshot; `streamer snapshot verify` checks all of them",
    )
