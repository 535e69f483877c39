"""`s3://`: a repository in a bucket of any server that speaks S3. Only here boto3 is known."""

from __future__ import annotations

from streamer.snapshot.remote.s3.backend import S3Backend
from streamer.snapshot.remote.s3.client import S3Access

__all__ = ["S3Access", "S3Backend"]
