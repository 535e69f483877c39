"""Addresses of repositories: what they mean, refused while it is known who wrote them."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from streamer.config.snapshots import SnapshotSettings
from streamer.errors import ConfigError

__all__ = ["RepositoryAddress", "check_repository", "parse_repository"]

SCHEMES = ("file", "s3", "ssh")
# What S3 allows in a bucket's name; other servers allow no more.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._=-]*/)*")
# A path is handed to the other host's shell in quotes; these characters need none.
_SSH_PATH = re.compile(r"(?:/[A-Za-z0-9._@+=-]+)+")
_SSH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SSH_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]+")


class RepositoryAddress(NamedTuple):
    """`file`: path. `s3`: host is the bucket, path the prefix (empty, or ending with a slash).
    `ssh`: user (may be empty), host, port and absolute path."""

    scheme: str
    host: str
    path: str
    user: str = ""
    port: int = 22


def check_repository(settings: SnapshotSettings, source: str) -> None:
    """Raise ConfigError for an address that cannot be right, or lacks a setting that it needs."""
    _check_s3(settings)
    if not settings.snapshot_repository:
        if settings.snapshot_interval_ms:
            raise ConfigError(
                f"configuration: snapshot_interval_ms is {settings.snapshot_interval_ms}, but"
                " snapshot_repository is not set",
                hint="set it to file:///path, s3://bucket/prefix or ssh://user@host/path",
            )
        return
    address = parse_repository(settings.snapshot_repository, source)
    if address.scheme == "ssh" and settings.snapshot_ssh_key is None:
        raise ConfigError(
            f"{source}: snapshot_repository is {settings.snapshot_repository}, but snapshot_ssh_key"
            " is not set",
            hint="name the file of a private key: ssh-keygen -t ed25519 -N '' -f FILE",
        )


def _check_s3(settings: SnapshotSettings) -> None:
    endpoint = settings.snapshot_s3_endpoint
    if endpoint and re.fullmatch(r"https?://[^/@\s]+/?", endpoint) is None:
        # It may hold credentials, so it is not repeated.
        raise ConfigError(
            "configuration: snapshot_s3_endpoint is not the address of a server",
            hint="http://host[:port] or https://host[:port], without path and credentials",
        )
    if settings.snapshot_s3_kms_key and settings.snapshot_s3_encryption != "aws:kms":
        raise ConfigError(
            "configuration: snapshot_s3_kms_key is set, but snapshot_s3_encryption is"
            f" {settings.snapshot_s3_encryption}",
            hint="set snapshot_s3_encryption to aws:kms",
        )


def parse_repository(text: str, source: str = "repository") -> RepositoryAddress:
    """Read an address. Raises ConfigError."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise _refused(text, source, str(error)) from None
    if parts.scheme not in SCHEMES:
        raise _refused(text, source, "it begins with none of " + ", ".join(SCHEMES))
    if parts.password is not None or (parts.username and parts.scheme != "ssh"):
        # Never repeated: it would be in every log.
        raise ConfigError(
            f"{source}: the address of the repository holds a password or a key",
            hint="S3 takes credentials from the usual chain, SSH the key of snapshot_ssh_key",
        )
    if parts.query or parts.fragment:
        raise _refused(text, source, "nothing may follow the path")
    return _READERS[parts.scheme](text, source)


def _file(text: str, source: str) -> RepositoryAddress:
    path = unquote(text.removeprefix("file://"))
    if not text.startswith("file:///") or len(path) < 2 or ".." in path.split("/"):
        raise _refused(text, source, "the path must be absolute, as in file:///srv/snapshots")
    return RepositoryAddress("file", "", path)


def _s3(text: str, source: str) -> RepositoryAddress:
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    if _BUCKET.fullmatch(bucket) is None:
        raise _refused(text, source, f"{bucket!r} is no name of a bucket")
    if _PREFIX.fullmatch(prefix) is None:
        raise _refused(text, source, f"{prefix!r} has other characters than letters, digits, ._=-")
    return RepositoryAddress("s3", bucket, prefix)


def _ssh(text: str, source: str) -> RepositoryAddress:
    split = urlsplit(text)
    host, user, path = split.hostname or "", split.username or "", split.path.rstrip("/")
    if _SSH_HOST.fullmatch(host) is None or (user and _SSH_NAME.fullmatch(user) is None):
        raise _refused(text, source, "it is not ssh://user@host[:port]/path")
    if _SSH_PATH.fullmatch(path) is None or {".", ".."} & set(path.split("/")):
        raise _refused(
            text, source, "the path must be absolute, of letters, digits and ._@+=- alone"
        )
    return RepositoryAddress("ssh", host, path, user, split.port or 22)


_READERS = {"file": _file, "s3": _s3, "ssh": _ssh}


def _refused(text: str, source: str, why: str) -> ConfigError:
    return ConfigError(
        f"{source}: {text!r} is not the address of a repository: {why}",
        hint="file:///path, s3://bucket/prefix or ssh://user@host[:port]/path",
    )
