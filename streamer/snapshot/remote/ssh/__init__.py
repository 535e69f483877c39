"""`ssh://`: a repository in a directory of another host. Only here fabric is known."""

from __future__ import annotations

from streamer.snapshot.remote.ssh.backend import SshBackend
from streamer.snapshot.remote.ssh.link import SshAccess

__all__ = ["SshAccess", "SshBackend"]
