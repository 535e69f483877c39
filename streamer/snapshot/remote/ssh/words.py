"""What the other host says, in words of ours."""

from __future__ import annotations

import errno

from streamer.errors import RepositoryError

__all__ = ["known_hosts_name", "refused"]

_HINTS = {
    "No space left": "free space there, or let `streamer snapshot prune` do it",
    "Disk quota": "free space there, or let `streamer snapshot prune` do it",
    "Read-only file system": "the file system there is mounted for reading only",
    "Permission denied": "give the directory there to the user that logs in, mode 700",
}


def known_hosts_name(host: str, port: int) -> str:
    """A host as known_hosts writes it."""
    return host if port == 22 else f"[{host}]:{port}"


def refused(error: Exception | str, said: str) -> RepositoryError:
    """A refusal of the host itself. sftp says `Failure` to most of them, a full disk included."""
    text = str(error)
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        text = "Permission denied"
    hint = next((hint for words, hint in _HINTS.items() if words in text), "")
    return RepositoryError(
        said, hint=hint or "look there for a full disk, a missing right, or a file that is no file"
    )
