"""The client of S3, with every timeout and repetition set, and what its failures mean to us."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    ResponseStreamingError,
    TokenRetrievalError,
)

from streamer.errors import RepositoryError, RepositoryUnavailableError

__all__ = ["FAULTS", "S3Access", "code_of", "make_client", "translated"]

FAULTS = (BotoCoreError, ClientError)

CONNECT_S = 10
# Silence, not the length of a transfer: a part of 16 MiB may take as long as it moves.
SILENCE_S = 60
# Three tries close together; what is away for longer is the business of `steady`.
TRIES = 3

_PASSING = (
    ConnectTimeoutError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, TokenRetrievalError)
_PASSING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_CREDENTIALS_HINT = (
    "they come from the usual chain: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile"
    " (snapshot_s3_profile), or the machine's role; what was sent so far is kept and not sent again"
)
_HINTS = {
    "AccessDenied": "the credentials need GetObject, PutObject, DeleteObject and ListBucket there",
    "ExpiredToken": f"renew the credentials; {_CREDENTIALS_HINT}",
    "ExpiredTokenException": f"renew the credentials; {_CREDENTIALS_HINT}",
    "InvalidAccessKeyId": f"the access key is not known there; {_CREDENTIALS_HINT}",
    "InvalidToken": f"renew the credentials; {_CREDENTIALS_HINT}",
    "NoSuchBucket": "make the bucket first, or correct snapshot_repository",
    "QuotaExceeded": "raise the quota, or let `streamer snapshot prune` free space",
    "RequestTimeTooSkewed": "this host's clock is off by more than S3 allows (15 minutes): set it"
    " by NTP",
    "SignatureDoesNotMatch": f"the secret key is not the access key's; {_CREDENTIALS_HINT}",
    "XMinioStorageFull": "the server's disk is full: free space there",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """How to reach a bucket. Credentials come from the usual chain, unless both keys are given."""

    endpoint: str = ""
    region: str = ""
    profile: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    connections: int = 8
    # AES256, aws:kms or nothing; the key of the latter where it is not the bucket's own.
    encryption: str = ""
    kms_key: str = ""


def make_client(access: S3Access) -> Any:
    """Raises RepositoryError for a profile that does not exist."""
    config = ClientConfig(
        connect_timeout=CONNECT_S,
        read_timeout=SILENCE_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=access.connections,
        signature_version="s3v4",
        # All that is read has a sum of its own, which the manifest or the record itself tells: to
        # check the server's as well took a third of what it costs to read an object (measured).
        response_checksum_validation="when_required",
        # Virtual hosts need a name of their own for every bucket, which few other servers have.
        s3={"addressing_style": "path" if access.endpoint else "auto"},
    )
    try:
        session = boto3.Session(
            profile_name=access.profile or None,
            aws_access_key_id=access.access_key or None,
            aws_secret_access_key=access.secret_key or None,
        )
        return session.client(
            "s3",
            endpoint_url=access.endpoint or None,
            region_name=access.region or session.region_name or "us-east-1",
            config=config,
        )
    except (ProfileNotFound, ValueError) as error:
        raise RepositoryError(
            f"the client of S3 cannot be made: {error}",
            hint="check snapshot_s3_profile and snapshot_s3_endpoint",
        ) from error


def code_of(error: Exception) -> str:
    """The server's word for what is wrong, empty where no server has answered."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def translated(error: Exception, what: str) -> RepositoryError:
    """What a failure means: whether it may pass, and what to do."""
    code = code_of(error)
    if isinstance(error, _NO_CREDENTIALS):
        return RepositoryError(f"{what}: no credentials: {error}", hint=_CREDENTIALS_HINT)
    if isinstance(error, _PASSING) or code in _PASSING_CODES or _status(error) >= 500:
        return RepositoryUnavailableError(f"{what}: {error}")
    return RepositoryError(
        f"{what}: {error}", hint=_HINTS.get(code, "see the server's log for this request")
    )


def _status(error: Exception) -> int:
    if not isinstance(error, ClientError):
        return 0
    # Not implemented is an answer, though its number looks like trouble that passes.
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0 if status == 501 else status
