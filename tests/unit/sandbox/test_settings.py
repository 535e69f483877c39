from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import ConfigError
from streamer.sandbox import SandboxCluster
from streamer.sandbox.settings import Seat, server_properties


def parsed(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_node_listens_on_loopback_only() -> None:
    found = parsed(server_properties(Path("/d"), port=20_001, controller_port=20_002, overrides={}))

    assert found["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert found["auto.create.topics.enable"] == "false"


def test_further_listeners_are_told_to_clients_too() -> None:
    more = {"SASL_SSL": 20_003}
    text = server_properties(
        Path("/d"), port=20_001, controller_port=20_002, overrides={}, listeners=more
    )

    public = "PLAINTEXT://127.0.0.1:20001,SASL_SSL://127.0.0.1:20003"
    assert parsed(text)["advertised.listeners"] == public
    assert parsed(text)["listeners"] == f"{public},CONTROLLER://127.0.0.1:20002"


def test_the_users_settings_win() -> None:
    given = {"auto.create.topics.enable": "true", "message.max.bytes": "2000000"}

    found = parsed(server_properties(Path("/d"), port=1, controller_port=2, overrides=given))

    assert found["auto.create.topics.enable"] == "true"
    assert found["message.max.bytes"] == "2000000"


def test_a_value_cannot_break_out_of_its_line() -> None:
    given = {"a": "x\ny=z", "b": "C:\\t"}

    found = parsed(server_properties(Path("/d"), port=1, controller_port=2, overrides=given))

    assert found["a"] == "x\\ny=z"
    assert found["b"] == "C:\\\\t"
    assert "y" not in found


def test_each_of_several_knows_all_controllers_and_copies_what_one_may_be_away_with() -> None:
    seat = Seat(2, "an-id", 20_002, {1: 20_011, 2: 20_012, 3: 20_013})

    text = server_properties(
        Path("/d"), port=seat.ports[0], controller_port=seat.ports[1], overrides={}, seat=seat
    )

    found = parsed(text)
    assert found["node.id"] == "2"
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:20002,CONTROLLER://127.0.0.1:20012"
    voters = "1@127.0.0.1:20011,2@127.0.0.1:20012,3@127.0.0.1:20013"
    assert found["controller.quorum.voters"] == voters
    assert "controller.quorum.bootstrap.servers" not in found
    kinds = ("default", "offsets.topic", "transaction.state.log")
    assert {found[f"{kind}.replication.factor"] for kind in kinds} == {"3"}
    assert found["min.insync.replicas"] == found["transaction.state.log.min.isr"] == "2"


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_number_that_outlives_no_more_than_the_one_before_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"and not {size}"):
        SandboxCluster(size)
