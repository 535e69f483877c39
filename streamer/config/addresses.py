"""Addresses as settings have them: what the client library would take for something else, or would
correct in silence, is refused while it is known who wrote it."""

from __future__ import annotations

import re

from streamer.errors import ConfigError

__all__ = ["check_server", "check_servers"]

_HOST = r"(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^:\s/,\[\]]+)"
_PORT = r"([0-9]{1,5})"
_SERVER = re.compile(f"{_HOST}:{_PORT}")
# librdkafka allows a protocol before the host, and takes 9092 where there is no port.
_PROTOCOL = "(?:(?:SASL_)?(?:PLAINTEXT|SSL)://)?"
_BROKER = re.compile(f"{_PROTOCOL}{_HOST}(?::{_PORT})?", re.IGNORECASE)
_PORT_MAX = 65_535


def check_servers(servers: str, source: str) -> None:
    """Raise ConfigError for a list of brokers that is empty, or has an entry that is no address."""
    if not servers:
        raise ConfigError(
            f"{source}: bootstrap_servers is empty", hint="give host:port of a broker"
        )
    for server in servers.split(","):
        if not _is_address(_BROKER, server.strip()):
            raise ConfigError(
                f"{source}: bootstrap_servers has {server.strip()!r}, which is not host:port",
                hint=f"a port is from 1 to {_PORT_MAX}, and 9092 where it is left out; an IPv6"
                " address stands in brackets, as in [::1]:9092",
            )


def check_server(server: str, source: str) -> None:
    """Raise ConfigError for an application_server that nobody can reach."""
    if not _is_address(_SERVER, server):
        raise ConfigError(
            f"{source}: application_server {server!r} is not host:port",
            hint=f"a port is from 1 to {_PORT_MAX}; an IPv6 address stands in brackets",
        )


def _is_address(form: re.Pattern[str], text: str) -> bool:
    found = form.fullmatch(text)
    return found is not None and (found[1] is None or 1 <= int(found[1]) <= _PORT_MAX)
