"""Which settings nobody may read in an output, a log or an error, and what is said instead.

Judged by the names that librdkafka and the schema registry's client give them: rather one setting
too many than one too few. An address keeps all but the password in it.
"""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "is_secret", "shown", "without_credentials"]

HIDDEN = "(hidden)"

_SECRET = re.compile(
    r"password|passphrase|secret|token$|user\.info|jaas|\.pem$|oauthbearer\.(config|extensions)$"
    r"|^(.*\.)?ssl_key$",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")


def is_secret(name: str) -> bool:
    """Whether the setting of this name is one that nobody may read."""
    return _SECRET.search(name) is not None


def shown(name: str, value: object) -> str | int | None:
    """A setting's value for people. A callable has a name only: what it was made with may be
    what it is there to keep."""
    if is_secret(name):
        return HIDDEN
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    if isinstance(value, int | None):
        return value
    return without_credentials(str(value))


def without_credentials(text: str) -> str:
    """The text with `(hidden)` for the user and the password of each address in it."""
    return _CREDENTIALS.sub(f"{HIDDEN}@", text)
