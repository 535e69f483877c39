"""What an application sends to itself under a layout."""

from __future__ import annotations

from streamer.control.layouts import LayoutRecord
from streamer.ids import Layout, TopicPartition, repartition_topic, strays_topic
from streamer.layout import ApplicationLayout

__all__ = ["internal_topics", "own_places"]


def internal_topics(
    application: str, layout: ApplicationLayout, subtopology: int
) -> dict[str, int]:
    """The topics that a subtopology reads and only the application writes, by their names on the
    brokers, with their partitions: repartition topics, and those of strays."""
    one = layout.subtopologies[subtopology]
    found = {}
    for topic, each in one.inputs.items():
        if each.is_internal:
            found[_internal(application, topic, one.since)] = each.partitions
        elif one.mode == "grow":
            found[strays_topic(application, topic, one.since)] = one.tasks
    return found


def _internal(application: str, first: str, since: Layout) -> str:
    short = first.removeprefix(f"{application}-").removesuffix("-repartition")
    return repartition_topic(application, short, since)


def own_places(record: LayoutRecord) -> list[TopicPartition]:
    """All that an application sends to itself under a layout."""
    layout = record.layout
    return [
        TopicPartition(topic, partition)
        for number in sorted(layout.subtopologies)
        for topic, width in internal_topics(record.application, layout, number).items()
        for partition in range(width)
    ]
