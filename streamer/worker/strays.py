"""What is read and asked ahead of processing, for topics that were given more partitions.

    Scout      reads the partitions of this worker's tasks once more, for strays alone
    Lookout    asks where partitions end and what is forwarded, in a thread of its own

They are there only where a layout has such topics, and idle once strays are not expected any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TopicPartition, strays_topic
from streamer.kafka import settings
from streamer.kafka.admin import Admin
from streamer.kafka.api import InputReader
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.positions import committed
from streamer.record import RawBatch
from streamer.strays.wait import Look
from streamer.task.metadata import Metadata, input_mark
from streamer.topology.partitions import Partitions

__all__ = ["Grown", "Lookout", "ReadAhead", "Scout", "grown", "read_ahead"]

_log = logging.getLogger(__name__)

# A wait is answered so late; each look is three requests, and one client for the second of them.
_LOOK_S = 0.2
_AGAIN_S = 1.0
# Looks go on for so long after the last question.
_IDLE_S = 5.0
_ASK_S = 30.0


@dataclass(frozen=True, slots=True)
class Grown:
    """A topic that was grown."""

    topic: str
    strays: str
    partitions: int

    def places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(self.partitions)]


def grown(application_id: str, planned: Partitions) -> list[Grown]:
    """All topics of a layout in which strays may be."""
    return [
        Grown(topic, strays_topic(application_id, topic, own.since), one.partitions)
        for own in planned.layout.subtopologies.values()
        if own.mode == "grow"
        for topic, one in own.inputs.items()
        if not one.is_internal
    ]


class Scout(Closable):
    """Used by the main thread."""

    def __init__(self, reader: InputReader, records_max: int) -> None:
        self._reader = reader
        self._records_max = records_max
        self._at: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, list[RawBatch]] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._failures: dict[TopicPartition, StreamerError] = {}

    def read(self, place: TopicPartition, position: int) -> tuple[list[RawBatch], int]:
        """What there is now from this position on, and the position behind it."""
        if self._at.get(place) != position:
            self.leave(place)
            self._reader.add({place: position})
            self._at[place] = position
        if not self._read.get(place) and place not in self._ends:
            self._fetch()
        if failure := self._failures.pop(place, None):
            raise failure
        batches, end = self._read.pop(place, []), self._ends.pop(place, None)
        if batches:
            position = batches[-1].position
        self._at[place] = position if end is None else max(position, end)
        return batches, self._at[place]

    def leave(self, place: TopicPartition) -> None:
        """It is read no more."""
        if self._at.pop(place, None) is not None:
            self._reader.remove([place])
        for known in (self._read, self._ends, self._failures):
            known.pop(place, None)

    def close(self) -> None:
        self._reader.close()

    def _fetch(self) -> None:
        fetched = self._reader.fetch(self._records_max, 0)
        for batch in fetched.batches:
            if batch.place in self._at:
                self._read.setdefault(batch.place, []).append(batch)
                self._ends.pop(batch.place, None)
        self._ends |= {place: end for place, end in fetched.ends.items() if place in self._at}
        self._failures |= fetched.failures


class Lookout(Closable):
    """Its thread runs from the first question on, and looks while there are any."""

    def __init__(self, look: Callable[[], Mapping[str, Look]]) -> None:
        """`look` asks the three questions of each topic, in their order."""
        self._ask = look
        self._begun = 0
        self._looks: tuple[int, Mapping[str, Look]] = (0, {})
        self._asked_s = 0.0
        self._is_asked = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamer-lookout", daemon=True)

    def asked(self) -> int:
        """How many looks have begun; they go on."""
        self._asked_s = time.monotonic()
        if not self._thread.ident:
            self._thread.start()
        self._is_asked.set()
        return self._begun

    def look(self, topic: str) -> tuple[int, Look]:
        """The last look that has ended, and its number."""
        number, looks = self._looks
        return number, looks.get(topic, Look())

    def close(self) -> None:
        self._closing.set()
        self._is_asked.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._is_asked.wait()
            if time.monotonic() - self._asked_s > _IDLE_S:
                self._is_asked.clear()
                continue
            self._closing.wait(self._once())

    def _once(self) -> float:
        """Look once. Returns the seconds until the next look."""
        # Before the first question: who was told a lower number has fetched its records by then.
        self._begun += 1
        try:
            self._looks = self._begun, self._ask()
        except KafkaUnavailableError as error:
            _log.info("what is forwarded is not known now, the brokers are away: %s", error)
        except StreamerError as error:
            _log.warning("what is forwarded cannot be asked for: %s", error.describe())
        except Exception:
            _log.exception("looking for what is forwarded failed, trying again")
        else:
            return _LOOK_S
        return _AGAIN_S


class ReadAhead(Closable):
    """A scout and a lookout."""

    def __init__(self, scout: Scout, lookout: Lookout) -> None:
        self.read = scout.read
        self.leave = scout.leave
        self.asked = lookout.asked
        self.look = lookout.look
        self._parts = scout, lookout

    def close(self) -> None:
        for part in self._parts:
            part.close()


def read_ahead(config: Config, planned: Partitions, closing: ExitStack) -> ReadAhead | None:
    """What a worker needs where its layout has topics that were grown; None where it has none."""
    topics = grown(config.application_id, planned)
    if not topics:
        return None
    made = settings.feed_consumer(config, settings.strays_group(config), shares=2)
    scout = Scout(InputConsumer(config, made, shares=2), config.max_poll_records)
    lookout = Lookout(_Brokers(config, topics).look)
    return closing.enter_context(ReadAhead(scout, lookout))


class _Brokers:
    """Asks them. Ends are high watermarks."""

    def __init__(self, config: Config, topics: list[Grown]) -> None:
        self._config = config
        self._topics = topics
        self._admin = Admin(config)

    def look(self) -> dict[str, Look]:
        ends = self._ends({one: one.topic for one in self._topics})
        forwarded = {one: self._forwarded(one) for one in self._topics}
        strays = self._ends({one: one.strays for one in self._topics})
        return {one.topic: Look(ends[one], forwarded[one], strays[one]) for one in self._topics}

    def _ends(self, names: Mapping[Grown, str]) -> dict[Grown, dict[int, int]]:
        places = [place for one, name in names.items() for place in one.places(name)]
        found = self._admin.ends(places, "read_uncommitted")
        return {
            one: {place.partition: found[place] for place in one.places(name)}
            for one, name in names.items()
        }

    def _forwarded(self, one: Grown) -> dict[int, int]:
        """What was processed is forwarded too. A transaction that is still open says nothing."""
        mark = input_mark(one.topic)
        found = committed(
            self._config,
            self._config.application_id,
            one.places(one.topic),
            timeout_s=_ASK_S,
            is_stable=False,
        )
        return {
            place.partition: max(at.position, Metadata.decode(at.metadata).forwarded.get(mark, 0))
            for place, at in found.items()
        }
