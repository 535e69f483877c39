"""Objects of a bucket: conditional puts, parts of large files, and what a bucket's rules would
lose.

A put is conditional (`If-None-Match: *`) whether it goes in one request or in parts. Copies never
are: several servers ignore the condition there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from streamer.errors import (
    RepositoryError,
    RepositoryUnavailableError,
    SnapshotMissingError,
)
from streamer.snapshot.remote.api import (
    CHUNK_BYTES,
    Backend,
    Content,
    Stored,
    check_key,
    check_prefix,
    exactly,
)
from streamer.snapshot.remote.s3.client import (
    FAULTS,
    S3Access,
    code_of,
    make_client,
    translated,
)

__all__ = ["S3Backend"]

_log = logging.getLogger(__name__)

_MIB = 1024 * 1024
# One file of RocksDB (32 MiB) goes in two or three requests; more than 10,000 parts S3 refuses.
PART_BYTES_MIN = 16 * _MIB
PARTS_MAX = 10_000
_TAKEN = frozenset({"PreconditionFailed", "412"})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound", "ExistingObjectIsDirectory"})
_NO_RULES = frozenset(
    {"NoSuchLifecycleConfiguration", "NotImplemented", "MethodNotAllowed", "AccessDenied"}
)


class S3Backend(Backend):
    """Objects of `bucket` below `prefix` (empty, or ending with a slash)."""

    def __init__(self, bucket: str, prefix: str, access: S3Access) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client = make_client(access)
        self._extra = _encryption(access)

    def put(self, key: str, content: Content, *, size: int) -> bool:
        where = {"Bucket": self.bucket, "Key": self._key(key)}
        part_bytes = max(PART_BYTES_MIN, -(-size // PARTS_MAX))
        try:
            if size > part_bytes:
                self._put_parts(where, _parts(exactly(content, size, key), part_bytes))
            else:
                body = b"".join(exactly(content, size, key))
                self._client.put_object(**where, Body=body, IfNoneMatch="*", **self._extra)
        except FAULTS as error:
            if code_of(error) in _TAKEN:
                return False
            raise self._translated(error, f"writing {key}") from error
        return True

    def _put_parts(self, where: dict[str, str], parts: Iterable[bytes]) -> None:
        upload = self._client.create_multipart_upload(**where, **self._extra)
        where_part = {**where, "UploadId": upload["UploadId"]}
        try:
            sent = []
            for number, part in enumerate(parts, 1):
                answer = self._client.upload_part(**where_part, PartNumber=number, Body=part)
                sent.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._client.complete_multipart_upload(
                **where_part, MultipartUpload={"Parts": sent}, IfNoneMatch="*"
            )
        except BaseException:
            # Nobody sees parts, and they cost space. Those of a process that dies are `unfinished`.
            try:
                self._client.abort_multipart_upload(**where_part)
            except FAULTS as error:
                _log.warning("an upload to %s could not be ended: %s", where["Key"], error)
            raise

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length == 0:
            return
        wanted: dict[str, Any] = {}
        if start or length is not None:
            wanted["Range"] = f"bytes={start}-" + (
                "" if length is None else f"{start + length - 1}"
            )
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key), **wanted)
            body = answer["Body"]
            try:
                # Not `iter_chunks`: it ends quietly where the connection was cut.
                while chunk := body.read(CHUNK_BYTES):
                    yield chunk
            finally:
                body.close()
        except FAULTS as error:
            if code_of(error) == "InvalidRange":
                return
            if code_of(error) in _ABSENT:
                raise SnapshotMissingError(f"{self.address}: there is no {key}") from None
            raise self._translated(error, f"reading {key}") from error
        except OSError as error:
            raise RepositoryUnavailableError(f"{self.address}: reading {key}: {error}") from error

    def stat(self, key: str) -> Stored | None:
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=self._key(key))
        except FAULTS as error:
            if code_of(error) in _ABSENT:
                return None
            raise self._translated(error, f"looking for {key}") from error
        return Stored(key, found["ContentLength"], _ms(found["LastModified"]))

    def list(self, prefix: str) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + check_prefix(prefix)
        )
        try:
            for page in pages:
                for each in page.get("Contents", ()):
                    key = each["Key"].removeprefix(self.prefix)
                    # Servers that keep files show directories that were made by hand.
                    if not key.endswith("/"):
                        yield Stored(key, each["Size"], _ms(each["LastModified"]))
        except FAULTS as error:
            raise self._translated(error, f"listing {prefix or 'everything'}") from error

    def delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))
        except FAULTS as error:
            if code_of(error) not in _ABSENT:
                raise self._translated(error, f"removing {key}") from error

    def unfinished(self) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=self.prefix
        )
        try:
            for page in pages:
                for each in page.get("Uploads", ()):
                    key = each["Key"].removeprefix(self.prefix)
                    yield Stored(f"{key}?{each['UploadId']}", 0, _ms(each["Initiated"]))
        except FAULTS as error:
            raise self._translated(error, "listing what is unfinished") from error

    def discard(self, key: str) -> None:
        name, _, upload = key.partition("?")
        try:
            self._client.abort_multipart_upload(
                Bucket=self.bucket, Key=self._key(name), UploadId=upload
            )
        except FAULTS as error:
            if code_of(error) != "NoSuchUpload":
                raise self._translated(error, f"discarding {name}") from error

    def check_writable(self) -> None:
        """Refuse a bucket whose rules delete by age: a file that no compaction touches is as old as
        the state, and every snapshot needs it."""
        try:
            rules = self._client.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"]
        except FAULTS as error:
            if code_of(error) in _NO_RULES:
                return
            raise self._translated(error, "reading the bucket's lifecycle rules") from error
        for rule in rules:
            if "Expiration" not in rule or rule.get("Status") != "Enabled":
                continue
            if not {"Days", "Date"} & set(rule["Expiration"]):
                continue
            at = _prefix_of(rule)
            if at.startswith(self.prefix) or self.prefix.startswith(at):
                raise RepositoryError(
                    f"{self.address}: the lifecycle rule {rule.get('ID', '(unnamed)')!r} of the"
                    f" bucket deletes objects below {at!r} by their age, and snapshots share files"
                    " of any age",
                    hint="remove the rule, or give the repository a prefix that it does not cover;"
                    " `streamer snapshot prune` deletes what is no longer needed",
                )

    def close(self) -> None:
        self._client.close()

    def _key(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _translated(self, error: Exception, what: str) -> RepositoryError:
        return translated(error, f"{self.address}: {what}")


def _encryption(access: S3Access) -> dict[str, str]:
    extra = {}
    if access.encryption:
        extra["ServerSideEncryption"] = access.encryption
    if access.kms_key:
        extra["SSEKMSKeyId"] = access.kms_key
    return extra


def _parts(chunks: Iterable[bytes], part_bytes: int) -> Iterator[bytes]:
    """Chunks of any size, joined to parts of one size; the last may be smaller."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= part_bytes:
            yield bytes(gathered[:part_bytes])
            del gathered[:part_bytes]
    if gathered:
        yield bytes(gathered)


def _prefix_of(rule: dict[str, Any]) -> str:
    """Where a rule applies; one that asks for tags as well is taken for all that it may hit."""
    chosen = rule.get("Filter", {})
    return str(
        chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix", "")
    )


def _ms(time: Any) -> int:
    return int(time.timestamp() * 1000)
