"""Restoring with the plain parts: only reading, write batches, or sorted files that are ingested.

All partitions go into one database, from the beginning to the end seen at the start.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from rocksdict import Options, Rdict, SstFileWriter, WriteBatch, WriteOptions

from bench.systems import Case, System

CONSUME_RECORDS = 10_000
SORTED_RECORDS = 250_000

Records = tuple[list[bytes], list[bytes]]


def batches(case: Case) -> Iterator[Records]:
    consumer = Consumer(
        {
            "bootstrap.servers": case.bootstrap,
            "group.id": f"{case.application}-parts",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            # By default a full queue stops fetching for a whole second and then runs dry.
            "fetch.queue.backoff.ms": 10,
        }
    )
    topic = f"{case.application}-stats-changelog"
    all_partitions = [TopicPartition(topic, partition, 0) for partition in range(case.partitions)]
    left = sum(consumer.get_watermark_offsets(partition, 30)[1] for partition in all_partitions)
    consumer.assign(all_partitions)
    while left:
        messages = consumer.consume(CONSUME_RECORDS, timeout=1.0)
        keys: list[Any] = [message.key() for message in messages]
        if None in keys:
            raise KafkaException(next(m.error() for m in messages if m.key() is None))
        left -= len(keys)
        values: list[Any] = [message.value() for message in messages]
        yield keys, values
    consumer.close()


def read(case: Case, told: Callable[[int], None]) -> None:
    for keys, _ in batches(case):
        told(len(keys))


def write_batches(case: Case, told: Callable[[int], None]) -> None:
    store = _open(case)
    without_log = WriteOptions()
    without_log.disable_wal = True  # type: ignore[method-assign, assignment]
    for keys, values in batches(case):
        batch = WriteBatch(raw_mode=True)
        for key, value in zip(keys, values, strict=True):
            batch.put(key, value)
        store.write(batch, without_log)
        told(len(keys))
    store.flush()
    store.close()


def sorted_files(case: Case, told: Callable[[int], None]) -> None:
    _ingest(case, told, limit=SORTED_RECORDS)


def one_sorted_file(case: Case, told: Callable[[int], None]) -> None:
    _ingest(case, told, limit=sys.maxsize)


def _ingest(case: Case, told: Callable[[int], None], *, limit: int) -> None:
    store = _open(case)
    last: dict[bytes, bytes] = {}
    records = 0

    def flush() -> None:
        file = case.state / f"part-{len(list(case.state.glob('part-*')))}.sst"
        _write_sorted(file, last)
        store.ingest_external_file([str(file)])
        last.clear()

    for keys, values in batches(case):
        last.update(zip(keys, values, strict=True))
        records += len(keys)
        if records >= limit:
            flush()
            told(records)
            records = 0
    if last:
        flush()
        told(records)
    store.close()


def _write_sorted(file: Path, rows: dict[bytes, bytes]) -> None:
    writer = SstFileWriter(Options(raw_mode=True))
    writer.open(str(file))
    for key in sorted(rows):
        writer[key] = rows[key]
    writer.finish()


def _open(case: Case) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return Rdict(str(case.state / "db"), options)


WAYS: dict[str, tuple[str, Callable[[Case, Callable[[int], None]], None]]] = {
    "read": ("parts: only reading", read),
    "batches": ("parts: write batches without WAL", write_batches),
    "sorted": (f"parts: sorted file per {SORTED_RECORDS:,} records, ingested", sorted_files),
    "one": ("parts: one sorted file, ingested", one_sorted_file),
}


def _row(way: str) -> System:
    command = [sys.executable, "-m", "bench.systems.restore_parts", way]
    return System(name=WAYS[way][0], guarantee="-", command=lambda _: command)


SYSTEMS = tuple(_row(way) for way in WAYS)


def main(way: str) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    gc.disable()
    restored = 0

    def told(records: int) -> None:
        nonlocal restored
        restored += records
        print(f"restored {restored}", flush=True)

    print("restored 0", flush=True)
    WAYS[way][1](Case.from_environment(), told)
    stopped.wait()


if __name__ == "__main__":
    main(sys.argv[1])
