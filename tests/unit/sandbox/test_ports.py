from __future__ import annotations

import random
import socket

import pytest

from streamer.errors import SandboxError
from streamer.sandbox import ports


def test_ports_are_different_and_below_those_of_outgoing_connections() -> None:
    found = ports.free_ports(20)

    assert len(set(found)) == 20
    assert all(ports.LOWEST <= port < ports.TOO_HIGH for port in found)


def test_a_port_that_somebody_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", ports.free_ports(1)[0])) as busy:
        taken = busy.getsockname()[1]
        free = ports.free_ports(1)[0]
        monkeypatch.setattr(random, "sample", lambda *_: [taken, free])
        assert ports.free_ports(1) == [free]

        monkeypatch.setattr(random, "sample", lambda *_: [taken])
        with pytest.raises(SandboxError, match="no 1 free ports"):
            ports.free_ports(1)
