"""Identifiers that travel through topics, directories and commands: parse and format in one place.

A task is written `0_3` (subtopology 0, task 3), as in Kafka Streams. A layout is the numbered
set of partitions, stores and changelog topics that holds the state of an application; 1 is first.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, NewType

from streamer.errors import ConfigError, TopologyError

__all__ = [
    "FIRST_LAYOUT",
    "Layout",
    "TaskId",
    "TopicPartition",
    "changelog_topic",
    "check_application_id",
    "check_store_name",
    "check_topic",
    "control_topic",
    "is_changelog_of",
    "is_strays_topic",
    "is_worker_id",
    "parse_state_name",
    "repartition_topic",
    "replay_application",
    "routed_name",
    "state_name",
    "strays_topic",
    "transactional_id",
]

Layout = NewType("Layout", int)
FIRST_LAYOUT = Layout(1)

# Names of stores and workers become parts of names of topics and groups, where Kafka allows these.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_TASK_ID = re.compile(r"([0-9]{1,9})_([0-9]{1,9})")
_STATE = re.compile(r"([0-9]{1,9}_[0-9]{1,9})(?:\.layout-([1-9][0-9]{0,8}))?")
_TOPIC = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}")


class TopicPartition(NamedTuple):
    """One partition of a topic; written `purchases/3`."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class TaskId(NamedTuple):
    """The unit of work and of state: a number in one subtopology. It is that of its partition in
    changelogs, and in topics that have a task for each partition (streamer/layout.py)."""

    subtopology: int
    partition: int

    def __str__(self) -> str:
        return f"{self.subtopology}_{self.partition}"

    @classmethod
    def parse(cls, text: str) -> TaskId:
        """Read `0_3`. Raises ConfigError for anything else."""
        return _task_id(text)


# A controller of a large fleet reads the same 12,000 names many times a second.
@lru_cache(maxsize=1 << 16)
def _task_id(text: str) -> TaskId:
    match = _TASK_ID.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text!r} is not a task id",
            hint="a task id is SUBTOPOLOGY_PARTITION, such as 0_3",
        )
    return TaskId(int(match[1]), int(match[2]))


def _check(kind: str, name: str) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise TopologyError(
            f"{name!r} is not a usable {kind}",
            hint="use letters, digits, '.', '_' and '-', at most 120, a letter or digit first",
        )
    return name


def is_worker_id(text: str) -> bool:
    """Whether a worker may be called that: it becomes part of names of groups and directories."""
    return _NAME.fullmatch(text) is not None


def check_store_name(name: str) -> str:
    """Return the name, or raise TopologyError: it becomes part of topic and directory names."""
    return _check("store name", name)


def check_application_id(name: str) -> str:
    """Return the name, or raise TopologyError: it prefixes topics, groups and transactions."""
    return _check("application id", name)


def check_topic(name: str) -> str:
    """Return the name, or raise TopologyError for one that no topic of Kafka can have."""
    if not isinstance(name, str) or _TOPIC.fullmatch(name) is None:
        raise TopologyError(
            f"{name!r} is not a topic's name",
            hint="Kafka's are of letters, digits, '.', '_' and '-', at most 249, and not '.' or"
            " '..'; patterns are not read: list the topics",
        )
    return name


def _suffix(layout: Layout) -> str:
    return "" if layout == FIRST_LAYOUT else f".layout-{layout}"


def changelog_topic(application_id: str, store: str, layout: Layout = FIRST_LAYOUT) -> str:
    """Kafka Streams' name for it; later layouts carry their number."""
    return f"{application_id}-{store}-changelog{_suffix(layout)}"


def is_changelog_of(topic: str, application_id: str, store: str) -> bool:
    """Whether a topic is the store's changelog, of whatever layout."""
    first = changelog_topic(application_id, store)
    return re.fullmatch(re.escape(first) + r"(\.layout-[0-9]+)?", topic) is not None


def repartition_topic(application_id: str, name: str, layout: Layout = FIRST_LAYOUT) -> str:
    return f"{application_id}-{name}-repartition{_suffix(layout)}"


def routed_name(topic: str) -> str:
    """The name, as that of a repartition step, by which records of a topic are taken over."""
    return f"{topic}-routed"


def strays_topic(application_id: str, topic: str, layout: Layout) -> str:
    """Where records of a topic go that were found where their keys are not at home."""
    return f"{application_id}-{topic}-strays{_suffix(layout)}"


def is_strays_topic(application_id: str, topic: str) -> bool:
    """Whether it is one of the application, of any layout."""
    return topic.startswith(f"{application_id}-") and "-strays.layout-" in topic


def state_name(task: TaskId, layout: Layout = FIRST_LAYOUT) -> str:
    """The name of the directory of a task's state, as it was built for this layout."""
    return f"{task}{_suffix(layout)}"


def parse_state_name(name: str) -> tuple[TaskId, Layout]:
    """The opposite. Raises ConfigError for what is no such name."""
    match = _STATE.fullmatch(name)
    found = (TaskId.parse(match[1]), Layout(int(match[2] or FIRST_LAYOUT))) if match else None
    if found is None or state_name(*found) != name:
        raise ConfigError(
            f"{name!r} is not the name of a state",
            hint="it is TASK or TASK.layout-NUMBER, such as 0_3.layout-2",
        )
    return found


def control_topic(application_id: str, kind: str) -> str:
    """`members`, `assignments`, `status`, ...: through these the workers find each other."""
    return f"{application_id}.{kind}"


def replay_application(application_id: str, operation: str) -> str:
    """The id under which an operation reads the topics of an application once more."""
    return check_application_id(f"{application_id}.{operation}")


def transactional_id(application_id: str, worker_id: str) -> str:
    """One per worker: initialising it anew is what fences the worker that held it.

    A worker of another application may have the same, which is refused at a start
    (worker/namesakes.py): written otherwise, it would not fence workers of earlier releases.
    """
    return f"{application_id}-{worker_id}"
