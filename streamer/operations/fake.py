"""The table of operations on the in-memory broker: with its transactions, fences and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamer.ids import TopicPartition, control_topic
from streamer.kafka.fake import FakeBroker, FakeProducer
from streamer.operations.ports import Effect, Rows, writer_id
from streamer.record import Record

__all__ = ["FakeTable"]


class FakeTable:
    """A `Table`. Any number of them on one broker are as many processes."""

    def __init__(self, broker: FakeBroker, application: str) -> None:
        self._broker = broker
        self._application = application
        self.place = TopicPartition(control_topic(application, "operations"), 0)
        broker.create(self.place.topic, 1)

    @property
    def application(self) -> str:
        return self._application

    def read(self, *, to_end: bool) -> Mapping[str, bytes]:
        self._broker.check("fetch")
        rows: dict[str, bytes] = {}
        for record in self.records(to_end=to_end):
            key = (record.key or b"").decode()
            if record.value is None:
                rows.pop(key, None)
            else:
                rows[key] = record.value
        return rows

    def records(self, *, to_end: bool) -> Sequence[Record]:
        """What can be read at present. A test may hold back what was committed of late."""
        return self._broker.partition_records(self.place)

    def claim(self, scope: str) -> FakeClaim:
        producer = self._broker.producer(writer_id(self._application, scope))
        producer.init()
        return FakeClaim(producer, self.place)

    def pause(self) -> None:
        pass

    def put(self, key: str, value: bytes | None) -> None:
        self._broker.check("send")
        self._broker.append(self.place, key.encode(), value)

    def close(self) -> None:
        pass


class FakeClaim:
    """A `Claim`: one transactional producer."""

    def __init__(self, producer: FakeProducer, place: TopicPartition) -> None:
        self._producer = producer
        self._place = place

    def write(self, rows: Rows, effects: Sequence[Effect] = ()) -> None:
        for place, key, value in [*((self._place, *row) for row in rows), *effects]:
            self._producer.send(
                place.topic,
                [key.encode()],
                [value],
                timestamps=[0],
                partitions=[place.partition],
            )
        self._producer.commit({}, "")

    def close(self) -> None:
        self._producer.close()
