from __future__ import annotations

from typing import Any

import pytest

from streamer.config import Config
from streamer.config.repositories import RepositoryAddress, parse_repository
from streamer.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("file:///srv/snapshots", RepositoryAddress("file", "", "/srv/snapshots")),
        ("file:///srv/a%20b", RepositoryAddress("file", "", "/srv/a b")),
        ("s3://bucket", RepositoryAddress("s3", "bucket", "")),
        ("s3://bucket/", RepositoryAddress("s3", "bucket", "")),
        ("s3://my.bucket-1/a/b", RepositoryAddress("s3", "my.bucket-1", "a/b/")),
        ("ssh://me@host/srv", RepositoryAddress("ssh", "host", "/srv", "me", 22)),
        ("ssh://me@host:2222/srv/a/", RepositoryAddress("ssh", "host", "/srv/a", "me", 2222)),
        ("ssh://host/srv", RepositoryAddress("ssh", "host", "/srv", "", 22)),
        ("ssh://me@[::1]:22/srv", RepositoryAddress("ssh", "::1", "/srv", "me", 22)),
    ],
)
def test_addresses_are_read(text: str, address: RepositoryAddress) -> None:
    assert parse_repository(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("snapshots", "/srv/snapshots", "file:", "file://srv", "file:///", "file:///a/../b"),
        *("ftp://host/x", "S3:/bucket", "s3://", "s3://Bucket", "s3://b", "s3://bucket/a/../b"),
        *("s3://bucket/a b", "s3://bucket/x//y", "s3://bucket/x?y", "ssh://host", "ssh://host/"),
        *("ssh:///srv", "ssh://me@host/a b", "ssh://me@host/a/../b", "ssh://me@host:x/a"),
        *("ssh://me@host/$(id)", "ssh://me@host/a;b", "ssh://-oProxyCommand=x@host/a"),
        *("ssh://me@-oProxyCommand/a", "ssh://me@host/a#b", "ssh://me@host:99999/a"),
    ],
)
def test_what_is_no_address_is_refused_with_its_source(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_repository(text, "environment X")
    assert raised.value.message.startswith("environment X: ")
    assert raised.value.hint


@pytest.mark.parametrize("text", ["s3://key:secret@bucket/x", "ssh://me:secret@host/x"])
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_repository(text)
    assert "secret" not in raised.value.describe()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"snapshot_repository": "here"}, "configuration: 'here' is not the address"),
        ({"snapshot_repository": "ssh://me@host/x"}, "snapshot_ssh_key is not set"),
        ({"snapshot_parallel_transfers": 0}, "at least 1"),
        ({"snapshot_interval_ms": 1_000}, "snapshot_repository is not set"),
        ({"snapshot_s3_encryption": "rot13"}, "one of none, AES256, aws:kms"),
        ({"snapshot_s3_endpoint": "s3.example.com"}, "not the address of a server"),
        ({"snapshot_s3_endpoint": "https://me:secret@host"}, "not the address of a server"),
        ({"snapshot_s3_endpoint": "https://host/bucket"}, "not the address of a server"),
        ({"snapshot_s3_kms_key": "key-1"}, "snapshot_s3_encryption is none"),
        ({"snapshot_bytes_per_second": "fast"}, "a number of bytes"),
    ],
)
def test_settings_of_snapshots_are_checked(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Config(application_id="spend", **values)
    assert "secret" not in raised.value.describe()
