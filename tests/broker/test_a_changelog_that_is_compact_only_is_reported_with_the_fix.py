from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Address
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streamer.cli.main import main
from streamer.ids import TaskId, TopicPartition
from tests.broker.test_a_trim_leaves_what_a_lost_disk_needs import planned, process
from tests.broker.trims import Snapshots
from tests.broker.workers import PATIENCE_S, Application

TASK = TaskId(0, 0)


def alter(application: Application, topic: str, settings: dict[str, str]) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for done in application.kafka.admin.incremental_alter_configs([resource]).values():
        done.result(60)


def settings_of(command: str) -> dict[str, str]:
    """What `kafka-configs.sh` would set, as the command says it."""
    given = shlex.split(command)[-1]
    found = re.findall(r"([\w.]+)=(\[[^\]]*\]|[^,]*)", given)
    return {name: value.strip("[]") for name, value in found}


def wait_until_refused(application: Application, until: Address) -> None:
    """Kafka itself says no, once the broker has heard of the new settings."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        deleting = application.kafka.admin.delete_records([until])
        try:
            next(iter(deleting.values())).result(60)
        except KafkaException as error:
            said = str(error)
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "policy" in said.lower()


def test_a_topic_that_is_compact_only_is_reported_and_its_fix_is_enough(
    application: Callable[..., Application], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = application("counts", outputs=("totals", "closed", "every"), partitions=1)
    snapshots = Snapshots(counts)
    worker = counts.worker()
    process(counts, worker, range(1, 4))
    for _ in range(2):
        snapshots.make(TASK)
    topic = counts.changelog("totals")
    alter(counts, topic, {"cleanup.policy": "compact"})

    wait_until_refused(counts, Address(topic, 0, 1))

    def others_go(one: Any) -> bool:
        return sum(part["offsets"] > 0 for part in one["partitions"]) == 2

    found = planned(snapshots, capsys, others_go)
    [totals] = [part for part in found["partitions"] if part["topic"] == topic]
    assert totals["offsets"] == 0
    limit = totals["holders"][0]
    assert limit["owner"] == f"the settings of {topic}"
    assert limit["reason"].startswith("cleanup.policy=compact: Kafka refuses to delete records")
    # Nothing was changed by looking at it.
    settings = counts.kafka.requests.topic_settings([topic])[topic]
    assert settings["cleanup.policy"] == "compact"

    wanted = settings_of(limit["freed_by"])
    assert wanted["cleanup.policy"] == "compact,delete"
    alter(counts, topic, wanted)
    planned(snapshots, capsys, lambda one: all(part["offsets"] > 0 for part in one["partitions"]))
    [*_, newest] = [planned(snapshots, capsys, lambda one: bool(one["operation"]))]
    assert main(["trim", "apply", newest["operation"], *snapshots.options]) == 0
    place = TopicPartition(topic, 0)
    assert counts.kafka.requests.starts([place])[place] > 0
    assert worker.is_alive
