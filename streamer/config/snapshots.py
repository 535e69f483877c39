"""The settings of snapshots: where the repository is, how it is reached, and at what pace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.config.values import ms, setting

__all__ = ["SnapshotSettings"]


@dataclass(frozen=True, kw_only=True)
class SnapshotSettings:
    """A part of `Config`, which checks them."""

    snapshot_repository: str = setting(
        "",
        "Where snapshots are kept: file:///path, s3://bucket/prefix or"
        " ssh://user@host[:port]/path. Empty: none are made.",
        kind="text",
    )
    snapshot_interval_ms: int = ms(
        0,
        "How often each worker makes a snapshot of each task that is active there, spread over the"
        " interval. 0: only when it is asked to. Keep it well below delete.retention.ms of the"
        " changelogs: an older snapshot would bring deleted keys back, and is not restored from.",
        low=0,
    )
    snapshot_keep_last: int = setting(
        3,
        "Snapshots of a task that stay when a worker has made a new one; older ones are removed,"
        " unless they are held or read. 0: workers remove none.",
        kind="integer",
        unit="snapshots",
        low=0,
    )
    snapshot_keep_ms: int = ms(
        0,
        "How long a snapshot stays in any case, beside the last ones.",
        low=0,
    )
    snapshot_key_file: Path | None = setting(
        None,
        "File with the key by which snapshots are encrypted before they leave this host: 64"
        " hexadecimal digits, as openssl rand -hex 32 makes, mode 600. Keep it apart from the"
        " repository: without it nothing can be restored. Unset: not encrypted.",
        kind="path",
    )
    snapshot_parallel_transfers: int = setting(
        4,
        "Files that are sent or fetched at the same time; each is hashed on its way, which takes a"
        " processor's time.",
        kind="integer",
        low=1,
        high=64,
    )
    snapshot_niceness: int = setting(
        19,
        "By how much the process that makes a worker's snapshots stands behind all others of the"
        " machine. 0: it takes as much as any; to 19, as nice does it. Where nothing is left over"
        " snapshots take long: choose less. 20: only what nobody else wants, of the processors and"
        " of the disk (Linux's idle class): no snapshot may come where nothing is left over.",
        kind="integer",
        low=0,
        high=20,
    )
    snapshot_cpu_percent: int = setting(
        10,
        "Most of one core's time that the process that makes a worker's snapshots takes; it rests"
        " between the pieces of its work. Above that it shows in what processing does, also where"
        " cores are free that share caches or a limit with it. 10: some 30 s for a GB. 100: it"
        " never rests.",
        kind="integer",
        unit="percent",
        low=1,
        high=100,
    )
    snapshot_bytes_per_second: int = setting(
        0,
        "Most that one process sends to or fetches from the repository, and reads of files whose"
        " hash is not known yet; 0 is without a limit.",
        kind="size",
        unit="bytes",
        low=0,
    )
    snapshot_patience_ms: int = ms(
        300_000,
        "How long a repository that does not answer is asked again before a snapshot or a restore"
        " gives up. What has arrived by then is kept, and not moved again.",
        low=0,
    )
    snapshot_s3_endpoint: str = setting(
        "",
        "Address of an S3 server other than Amazon's, such as https://s3.example.com. Credentials"
        " come from the usual chain: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or"
        " the machine's role.",
        kind="text",
    )
    snapshot_s3_region: str = setting(
        "", "Region of the bucket. Empty: that of the profile, or us-east-1.", kind="text"
    )
    snapshot_s3_profile: str = setting(
        "", "Profile of the credentials in ~/.aws. Empty: the usual chain's own.", kind="text"
    )
    snapshot_s3_access_key: str = setting(
        "",
        "Access key where the usual chain is not to be asked, together with"
        " snapshot_s3_secret_key. Empty: the usual chain.",
        kind="text",
    )
    snapshot_s3_secret_key: str = setting(
        "",
        "Secret of snapshot_s3_access_key. Whoever reads the settings' file reads it: the usual"
        " chain is the better place.",
        kind="text",
    )
    snapshot_s3_encryption: str = setting(
        "none",
        "Whether the server is asked to encrypt what it keeps, beside what the bucket does anyway.",
        kind="choice",
        choices=("none", "AES256", "aws:kms"),
    )
    snapshot_s3_kms_key: str = setting(
        "",
        "The key that the server takes with aws:kms. Empty: the bucket's own.",
        kind="text",
    )
    snapshot_ssh_key: Path | None = setting(
        None,
        "Private key for ssh://, without a passphrase, mode 600. It alone is tried: no agent, no"
        " password, no other key.",
        kind="path",
    )
    snapshot_ssh_known_hosts: Path | None = setting(
        None,
        "File of the host keys that are known. A host that is not in it, or shows another key, is"
        " refused. Unset: ~/.ssh/known_hosts.",
        kind="path",
    )
