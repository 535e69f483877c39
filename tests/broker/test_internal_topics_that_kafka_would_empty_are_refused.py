"""A changelog or repartition topic that a broker made by itself, or that somebody changed: with its
retention Kafka would delete state while the worker runs. The start is refused, and changes nothing.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.broker.workers import Application
from tests.thorough import thorough

WARNINGS = ("WARNING", "ERROR")


def alter(application: Application, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for done in application.kafka.admin.incremental_alter_configs([resource]).values():
        done.result(60)


def run_on(application: Application) -> None:
    worker = application.worker()
    worker.wait_started(1)
    assert worker.stop() == 0


def warnings(application: Application) -> list[str]:
    lines = application.workers[-1].lines()
    return [str(line["msg"]) for line in lines if str(line["level"]).upper() in WARNINGS]


def test_a_changelog_with_retention_is_refused_until_it_is_corrected(application: Any) -> None:
    made: Application = application("orders", partitions=1)
    changelog = made.changelog("amounts")
    made.kafka.create(
        changelog, partitions=1, cleanup_policy="delete", retention_ms="2000", segment_ms="1000"
    )
    made.kafka.produce(made.topic("in"), [("one", '{"amount": 1}')] * 10)
    refused = made.worker()
    assert refused.wait() == 1
    assert f"Kafka would delete state: {changelog} has retention.ms=2000" in refused.error
    assert f"--entity-name {changelog} --add-config" in refused.error
    assert made.committed() == {}

    # As the hint says, but for compact: it only grows.
    alter(made, changelog, retention_ms="-1")
    assert made.run().stop() == 0
    assert any(f"{changelog} has cleanup.policy=delete" in said for said in warnings(made))
    alter(made, changelog, cleanup_policy="compact,delete")
    run_on(made)
    assert warnings(made) == []


def test_a_repartition_topic_with_retention_is_refused(application: Any) -> None:
    made: Application = application("shop", inputs=("in", "customers"))
    run_on(made)
    internal = [name for name in made.kafka.topics() if name.startswith(f"{made.name}-")]
    topic = next(name for name in sorted(internal) if name.endswith("-repartition"))
    alter(made, topic, retention_ms="604800000")
    refused = made.worker()
    assert refused.wait() == 1
    what = "Kafka would delete records that were not processed"
    assert f"{what}: {topic} has retention.ms=604800000" in refused.error


@thorough
def test_a_state_may_be_as_old_as_its_changelog_says(application: Any) -> None:
    made: Application = application("orders", partitions=1)

    def process(host: str) -> None:
        made.kafka.produce(made.topic("in"), [("one", '{"amount": 1}')] * 10)
        assert made.run(host).stop() == 0

    # Each time another host goes on: what the first one has is behind.
    for host in ("a", "b", "a"):
        process(host)
    assert warnings(made) == []
    process("b")
    alter(made, made.changelog("amounts"), delete_retention_ms="1")
    process("a")
    (said,) = warnings(made)
    assert "days too old to be continued" in said
