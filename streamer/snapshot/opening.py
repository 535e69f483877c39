"""From settings to a repository. Client libraries are loaded when an address asks for them."""

from __future__ import annotations

from pathlib import Path

from streamer.config import Config
from streamer.config.repositories import RepositoryAddress, parse_repository
from streamer.errors import ConfigError
from streamer.snapshot.cipher import Cipher, Plain, read_key
from streamer.snapshot.pace import Pace
from streamer.snapshot.remote.api import Backend
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.remote.steady import SteadyBackend
from streamer.snapshot.repository import Repository
from streamer.snapshot.transfer import Transfers

__all__ = ["open_backend", "open_repository"]


def open_repository(config: Config, address: str = "", *, pace: Pace | None = None) -> Repository:
    """The repository of the settings, or another one that is reached by the same settings. Those
    that are given one `pace` keep the limit together.

    Raises ConfigError when none is set or a setting is wrong, RepositoryError when it refuses.
    """
    address = address or config.snapshot_repository
    if not address:
        raise ConfigError(
            "snapshot_repository is not set, so there is no place for snapshots",
            hint="set it to file:///path, s3://bucket/prefix or ssh://user@host/path",
        )
    key_file = config.snapshot_key_file
    cipher: Cipher = Plain() if key_file is None else read_key(key_file)
    backend = SteadyBackend(open_backend(config, address), config.snapshot_patience_ms)
    transfers = Transfers(
        parallel=config.snapshot_parallel_transfers,
        pace=pace or Pace(config.snapshot_bytes_per_second),
    )
    try:
        return Repository(backend, cipher, transfers=transfers)
    except BaseException:
        backend.close()
        raise


def open_backend(config: Config, address: str) -> Backend:
    """The place of an address, which is not touched yet."""
    is_set = address == config.snapshot_repository
    source = config.source("snapshot_repository") if is_set else "repository"
    found = parse_repository(address, source)
    if found.scheme == "s3":
        return _s3(config, found)
    if found.scheme == "ssh":
        return _ssh(config, found)
    return DirectoryBackend(Path(found.path))


def _s3(config: Config, address: RepositoryAddress) -> Backend:
    from streamer.snapshot.remote.s3 import S3Access, S3Backend

    if bool(config.snapshot_s3_access_key) != bool(config.snapshot_s3_secret_key):
        raise ConfigError(
            "of snapshot_s3_access_key and snapshot_s3_secret_key only one is set",
            hint="set both, or none: then credentials come from the usual chain",
        )
    encryption = config.snapshot_s3_encryption
    access = S3Access(
        endpoint=config.snapshot_s3_endpoint,
        region=config.snapshot_s3_region,
        profile=config.snapshot_s3_profile,
        access_key=config.snapshot_s3_access_key,
        secret_key=config.snapshot_s3_secret_key,
        connections=config.snapshot_parallel_transfers + 4,
        encryption="" if encryption == "none" else encryption,
        kms_key=config.snapshot_s3_kms_key,
    )
    return S3Backend(address.host, address.path, access)


def _ssh(config: Config, address: RepositoryAddress) -> Backend:
    from streamer.snapshot.remote.ssh import SshAccess, SshBackend

    if config.snapshot_ssh_key is None:
        raise ConfigError(
            "snapshot_ssh_key is not set, and nothing else is tried",
            hint="name the file of a private key: ssh-keygen -t ed25519 -N '' -f FILE",
        )
    known_hosts = config.snapshot_ssh_known_hosts or Path.home() / ".ssh" / "known_hosts"
    access = SshAccess(
        host=address.host,
        port=address.port,
        user=address.user,
        key_file=config.snapshot_ssh_key,
        known_hosts=known_hosts,
        channels=config.snapshot_parallel_transfers,
    )
    return SshBackend(address.path, access)
