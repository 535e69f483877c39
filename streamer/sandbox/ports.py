"""Free TCP ports below the range from which the system takes ports for outgoing connections.

Inside that range a client that reconnects to a stopped broker can be given the broker's own port,
connect to itself, and keep the restarted broker from binding.
"""

from __future__ import annotations

import random
import socket

from streamer.errors import SandboxError

__all__ = ["LOWEST", "TOO_HIGH", "free_ports"]

LOWEST = 15_000
TOO_HIGH = 32_768  # the usual start of Linux's range for outgoing connections
TRIES = 200


def free_ports(count: int) -> list[int]:
    """Different ports on the loopback interface that nobody listens on at this moment."""
    found: list[int] = []
    for port in random.sample(range(LOWEST, TOO_HIGH), TRIES):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise SandboxError(
        f"found no {count} free ports between {LOWEST} and {TOO_HIGH}",
        hint="name the ports, or stop what holds them",
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the broker's own socket does: connections of a dead predecessor do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
