"""Names on another host that a power cut does not take away, as far as its server has the means."""

from __future__ import annotations

import logging
from typing import Any

from paramiko.sftp import CMD_EXTENDED

__all__ = ["Names"]

_log = logging.getLogger(__name__)


class Names:
    """Syncs directories of one repository."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._is_able = True

    def sync(self, sftp: Any, directory: str) -> None:
        """Make the names in a directory durable. Where the server cannot, that is told once: the
        names are on its disk when its system writes them there, within seconds as a rule. Raises
        what a broken connection does."""
        if not self._is_able:
            return
        try:
            # OpenSSH opens whatever open(2) does, a directory for reading too.
            with sftp.open(directory, "r") as names:
                sftp._request(CMD_EXTENDED, "fsync@openssh.com", names.handle)
        except (TimeoutError, ConnectionError):
            raise
        except OSError as error:
            self._is_able = False
            _log.warning(
                "%s: the server cannot sync a directory (%s): a power cut there may take the last"
                " names away",
                self._address,
                error,
            )
