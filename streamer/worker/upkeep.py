"""What has to be asked of the brokers now and then, in a thread of its own since they may be slow.

All topics are looked at: one that was deleted ends the worker with its name, where clients only
know that a transaction failed, and so does an input with other partitions: soon, since producers
need up to five minutes to learn of them, and write keys elsewhere from then on. Repartition topics
are purged up to what was committed: only this application reads them, and their retention is
unlimited so that nothing else deletes a record that was not processed (KAFKA-6150).
"""

from __future__ import annotations

import logging
import threading

from streamer.cluster.layouts import check_newer
from streamer.config import Config
from streamer.control.current import current_record
from streamer.errors import KafkaUnavailableError, PartitionsChangedError, StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions
from streamer.worker.tasks import TaskSet
from streamer.worker.topics import check_unchanged, written_topics

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)

# One small request: 1,200 workers make 120 a second for all brokers.
_LOOK_S_MAX = 10.0


class Upkeep:
    """A thread that looks every ten seconds, or every `metadata_max_age_ms` where that is less.
    `failure` is what it found."""

    def __init__(
        self,
        topology: Topology,
        planned: Partitions,
        *,
        tasks: TaskSet,
        config: Config,
        follows_layout: bool = False,
    ) -> None:
        """`follows_layout` is for a worker without a cluster: others hear of it beside their
        assignments."""
        self.failure: StreamerError | None = None
        self._topology = topology
        self._planned = planned
        self._tasks = tasks
        self._config = config
        self._follows_layout = follows_layout
        self._admin = Admin(config)
        named = (*planned.sources, *written_topics(topology, planned, config))
        self._named = list(dict.fromkeys(named))
        self._purged: dict[TopicPartition, int] = {}
        self._interval_s = min(config.metadata_max_age_ms / 1000, _LOOK_S_MAX)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamer-upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            try:
                self._check_topics()
                if self._follows_layout:
                    self._check_layout()
                self._purge()
            except KafkaUnavailableError as error:
                _log.info("not now, the brokers are away: %s", error)
            except StreamerError as error:
                self.failure = error
                return
            except Exception:
                # Whatever it is, repartition topics must not grow unnoticed from here on.
                _log.exception("upkeep failed, trying again in %d s", self._interval_s)

    def _check_topics(self) -> None:
        counts = self._admin.partitions_if_available(self._named)
        if counts is None:
            return
        try:
            check_unchanged(self._planned, self._topology, counts)
        except PartitionsChangedError:
            # An operation grows topics once the layout is recorded that wants it.
            self._check_layout()
            raise

    def _check_layout(self) -> None:
        record = current_record(self._config, self._admin)
        if record is not None:
            check_newer(record, self._planned.layout.number)

    def _purge(self) -> None:
        """Delete what every reader of the repartition topics has committed: that is its task."""
        due = {
            place: position
            for task in self._tasks.running
            for place, position in list(task.committed.items())
            if place.topic in self._planned.repartition and position > self._purged.get(place, 0)
        }
        if due:
            self._admin.delete_before(due)
            self._purged.update(due)
