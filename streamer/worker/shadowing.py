"""The shadows of a worker as it makes them: their databases, and where it looks what is wanted."""

from __future__ import annotations

from contextlib import ExitStack

from streamer.config import Config
from streamer.control.current import current_record
from streamer.control.orders import ShadowOrder, decode_order, shadow_key
from streamer.errors import TopicMissingError
from streamer.ids import FIRST_LAYOUT, Layout, TopicPartition, control_topic
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader
from streamer.restore import Restorer
from streamer.store.directory import WorkerDirectory
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.task.build import changelogs
from streamer.topology.graph import Topology
from streamer.worker.shadows import Shadows, Standing

__all__ = ["make_shadows", "read_standing"]

_READ_S = 30.0


def make_shadows(
    topology: Topology,
    config: Config,
    *,
    directory: WorkerDirectory,
    pool: MemoryPool,
    delete_retention_ms: int,
    closing: ExitStack,
) -> Shadows:
    """Those of a worker that runs the layout of its directory; `closing` closes them."""
    restorer = Restorer(config, pool, delete_retention_ms=delete_retention_ms, is_apart=True)
    closing.callback(restorer.close)
    shadows = Shadows(
        lambda task, path: TaskDatabase.open(
            path,
            topology.subtopologies[task.subtopology].stores,
            pool=pool,
            options=config.rocksdb,
        ),
        lambda task, layout: changelogs(topology, task, layout),
        directory=directory,
        restorer=restorer,
        standing=lambda: read_standing(config, directory.worker_id),
        running=directory.layout.number,
        lag_max=config.acceptable_recovery_lag,
    )
    closing.callback(shadows.close)
    return shadows


def read_standing(config: Config, worker: str) -> Standing:
    """What is on record for this worker. Raises InternalTopicError for an order or a layout that
    cannot be read, and KafkaUnavailableError."""
    admin = Admin(config)
    # First the orders: they are taken back after a switch, so without one the layout that is read
    # then is the one that holds for good, as far as that order goes.
    order = _order(config, admin, worker)
    record = current_record(config, admin)
    layout = FIRST_LAYOUT if record is None else Layout(record.number)
    return Standing(layout, order)


def _order(config: Config, admin: Admin, worker: str) -> ShadowOrder | None:
    place = TopicPartition(control_topic(config.application_id, "orders"), 0)
    try:
        admin.partitions([place.topic])
    except TopicMissingError:
        return None
    # Up to the high watermark: a commit is told before its markers are written.
    ends = admin.ends([place], "read_uncommitted")
    with TableReader(config, [place]) as reader:
        rows = reader.read_to(ends, timeout_s=_READ_S)
    values = {row.key: row.value for row in rows}
    value = values.get(shadow_key(worker))
    if value is None:
        return None
    order = decode_order(place.topic, shadow_key(worker), value)
    assert isinstance(order, ShadowOrder)
    return order
