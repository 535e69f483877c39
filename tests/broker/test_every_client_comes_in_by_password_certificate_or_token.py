"""The ways into a Kafka that lets in whom it knows, and what is said to whom it does not let in."""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from streamer.config import Config
from streamer.errors import ConfigError
from streamer.kafka.admin import Admin
from streamer.kafka.producer import WorkerProducer
from streamer.kafka.reading import read_topic
from streamer.kafka.settings import check as check_settings
from tests.broker.secured import PASSWORD, Grant, SecuredKafka


def token(user: str) -> tuple[str, float]:
    """One that says who it is for, and that nobody has signed."""
    now_s = time.time()
    parts = [{"alg": "none"}, {"sub": user, "iat": now_s, "exp": now_s + 3_600}]
    texts = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{texts[0]}.{texts[1]}.", now_s + 3_600


def by_password(broker: SecuredKafka) -> tuple[str, str, dict[str, Any]]:
    return "pia", "SASL_SSL", broker.user("pia")


def by_certificate(broker: SecuredKafka) -> tuple[str, str, dict[str, Any]]:
    return "carl", "SSL", broker.certificate("carl")


def by_token(broker: SecuredKafka) -> tuple[str, str, dict[str, Any]]:
    settings = broker.user("tom") | {
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.config": "tom",
        "oauth_cb": token,
    }
    del settings["sasl.username"], settings["sasl.password"]
    return "tom", "SASL_SSL", settings


@pytest.mark.parametrize("way", [by_password, by_certificate, by_token])
def test_every_client_comes_in_by_password_certificate_or_token(
    secured: SecuredKafka, way: Callable[[SecuredKafka], tuple[str, str, dict[str, Any]]]
) -> None:
    user, listener, settings = way(secured)
    topic = f"{way.__name__}-topic"
    secured.kafka.create(topic, partitions=1)
    grants = [Grant(operation, "--topic", topic, False) for operation in ("Read", "Write")]
    secured.grant(user, grants)
    config = Config(
        application_id=way.__name__,
        bootstrap_servers=secured.sandbox.address(listener),
        kafka=settings,
    )
    check_settings(config)
    producer = WorkerProducer(config, None)
    producer.send(topic, [b"k"], [b"v"], timestamps=[1])
    producer.commit({}, None)
    producer.close()
    [record] = read_topic(config, topic)
    assert (record.key, record.value) == (b"k", b"v")


def test_who_is_not_let_in_is_told_after_seconds(secured: SecuredKafka, tmp_path: Path) -> None:
    settings = secured.user("eve")
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    wrong = {
        "invalid credentials": settings | {"sasl.password": "no " + PASSWORD},
        "certificate verify failed": settings | {"ssl.ca.location": str(stranger)},
    }

    def said(kafka: dict[str, str]) -> str:
        config = Config(application_id="eve", bootstrap_servers=secured.address, kafka=kafka)
        with pytest.raises(ConfigError, match="do not let this client in") as raised:
            # As a worker does at its start.
            Admin(config, stopping=threading.Event()).topics()
        return raised.value.describe()

    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for reason, text in zip(wrong, pool.map(said, wrong.values()), strict=True):
            assert reason in text
            assert PASSWORD not in text
    assert time.monotonic() - began < 60
