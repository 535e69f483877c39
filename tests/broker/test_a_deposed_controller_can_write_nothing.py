"""Two controllers at once: the later one's claim ends what the earlier one can do."""

from __future__ import annotations

import pytest

from streamer.cluster.events import Write
from streamer.cluster.ports import KafkaPorts
from streamer.config import Config
from streamer.control.messages import FORMAT, AssignmentRecord
from streamer.control.topics import ControlTopics
from streamer.errors import FencedError
from streamer.kafka.admin import Admin
from tests.broker.conftest import Kafka, Names


def record(version: int, why: str) -> AssignmentRecord:
    return AssignmentRecord(
        format=FORMAT, version=version, worker="w1", incarnation="abc.0", tasks=("0_1",), why=why
    )


def test_the_former_controller_is_refused_and_its_word_is_not_read(
    kafka: Kafka, names: Names
) -> None:
    config = Config(
        application_id=names.application, bootstrap_servers=kafka.bootstrap_servers, worker_id="w1"
    )
    admin = Admin(config)
    topics = ControlTopics.prepare(config, admin)
    former, later = KafkaPorts(config, topics, admin), KafkaPorts(config, topics, admin)
    try:
        former.claim()
        former.write(Write((record(1, "the former one's"),)))
        later.claim()
        with pytest.raises(FencedError):
            former.write(Write((record(2, "too late"),)))
        assert [each.why for each in later.load()[0]] == ["the former one's"]

        later.write(Write((record(2, "the later one's"),)))
        with pytest.raises(FencedError):
            former.write(Write((record(3, "too late again"),)))
        assert [each.why for each in later.load()[0]] == ["the later one's"]
        written = {row.value for row in kafka.read(topics.assignment("w1").topic)}
        assert not any(b"too late" in (value or b"") for value in written)
    finally:
        former.close()
        later.close()
