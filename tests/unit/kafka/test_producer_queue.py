"""How many records are under way at a time: the queue is used, whatever memory a worker has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamer.config import Config
from streamer.kafka import settings
from streamer.kafka.producer import WorkerProducer


class Slow:
    """A client that delivers nothing before it is waited for, and then one record at a time."""

    transactional_id = "app-1"

    def __init__(self, made: dict[str, Any], _id: str, **_more: Any) -> None:
        self.records_max = int(made["queue.buffering.max.messages"])
        self.left = self.highest = self.sent = self.waits = 0

    def __len__(self) -> int:
        return self.left

    def begin(self) -> None:
        pass

    def produce(self, *_columns: Any) -> None:
        if self.left >= self.records_max:
            raise BufferError
        self.sent += 1
        self.left += 1
        self.highest = max(self.highest, self.left)

    def wait_until(self, is_enough: Callable[[int], bool]) -> None:
        while self.left and not is_enough(self.left):
            self.waits += 1
            self.left -= 1


def made(memory: str, kafka: dict[str, Any] | None = None) -> tuple[WorkerProducer, Slow]:
    given: dict[str, Any] = {"memory_bytes_max": memory, "kafka": kafka or {}}
    config = Config(application_id="app", **given)
    client = Slow(settings.producer(config, "app-1"), "app-1")
    writer: Any = lambda *_given, **_more: client  # noqa: E731
    return WorkerProducer(config, "app-1", writer=writer), client


def send(producer: WorkerProducer, count: int) -> None:
    producer.send("t", [b"k"] * count, [b"v"] * count, timestamps=[5] * count)


@pytest.mark.parametrize("memory", ["128MiB", "512MiB", "2GiB"])
def test_a_send_waits_for_none_of_those_before_while_there_is_room(memory: str) -> None:
    producer, client = made(memory)
    for _ in range(20):
        send(producer, 100)
    assert (client.sent, client.waits) == (2_000, 0)


@pytest.mark.parametrize("memory", ["128MiB", "512MiB"])
def test_a_queue_that_is_full_is_waited_for_until_there_is_room_again_and_no_longer(
    memory: str,
) -> None:
    producer, client = made(memory)
    send(producer, 4 * client.records_max)
    assert client.sent == 4 * client.records_max
    assert client.records_max // 2 < client.highest <= client.records_max
    assert client.left > client.records_max // 2


def test_a_queue_without_a_bound_is_none_of_one_record() -> None:
    producer, client = made("512MiB", {"producer.queue.buffering.max.messages": 0})
    client.records_max = 1_000_000
    for _ in range(20):
        send(producer, 1_000)
    assert (client.sent, client.waits) == (20_000, 0)


@pytest.mark.parametrize("records_max", [1, 7, 100])
def test_a_queue_of_a_few_records_is_never_overrun(records_max: int) -> None:
    producer, client = made("512MiB", {"producer.queue.buffering.max.messages": records_max})
    assert client.records_max == records_max
    send(producer, 1_000)
    assert client.sent == 1_000
    assert client.highest <= records_max
