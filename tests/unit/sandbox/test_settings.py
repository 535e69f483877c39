from __future__ import annotations

from pathlib import Path

from streamer.sandbox.settings import server_properties


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
