"""`streamer sandbox topic`, `produce` and `read`: what one needs to try an application.

They reach the sandbox that runs, or any other broker with `--bootstrap-servers`. Keys go to the
partitions where Kafka's own producers send them, so that queries find them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from streamer.cli.options import Commands, add_json
from streamer.cli.output import print_json, quiet_clients
from streamer.cli.records import as_json, as_text, parsed
from streamer.errors import ConfigError, OperationRefusedError, SandboxError, TopicMissingError
from streamer.record import Record

__all__ = ["add"]

Action = Callable[..., argparse.ArgumentParser]

_PARTITIONS = 4
_FETCH_RECORDS, _FETCH_MS = 1_000, 200
_ASKED_S = 20.0

_PRODUCE = """\
A line is KEY, a TAB and VALUE. With --json it is an object: a value that is not text is written
as JSON, null is none, and `timestamp_ms` and `headers` may stand beside them. Nothing is written
when a line is wrong.

  printf 'ann\\t{"cents": 250}\\n' | streamer sandbox produce purchases
  echo '{"key": "ann", "value": null}' | streamer sandbox produce purchases --json
"""
_READ = """\
Prints KEY, a TAB and VALUE until Ctrl-C, or until --count. Only committed records are read, those
of a partition in their order; no positions are committed.

  streamer sandbox read customer-totals --from-beginning --count 2
"""


def add(actions: Commands, action: Action) -> None:
    """Add the three to the actions of `streamer sandbox`; `action` makes one of them."""
    topic = action(actions, "topic", "create topics that do not exist yet", _topic)
    topic.add_argument("topics", metavar="NAME", nargs="+", help="names of topics")
    topic.add_argument(
        "--partitions",
        metavar="N",
        type=_number,
        help=f"partitions of each (default: {_PARTITIONS})",
    )
    produce = action(actions, "produce", "write records to a topic", _produce, details=_PRODUCE)
    produce.add_argument("topic", metavar="TOPIC", help="name of the topic")
    produce.add_argument(
        "--file", metavar="FILE", type=Path, help="read lines from here (default: standard input)"
    )
    read = action(actions, "read", "print the records of a topic", _read, details=_READ)
    read.add_argument("topic", metavar="TOPIC", help="name of the topic")
    read.add_argument(
        "--from-beginning", action="store_true", help="all that is there, not only what comes"
    )
    read.add_argument("--count", metavar="N", type=_number, help="end after so many records")
    for command in (topic, produce, read):
        command.add_argument(
            "--bootstrap-servers",
            metavar="VALUE",
            help="another Kafka than the sandbox, host:port",
        )
    add_json(topic)
    for command in (produce, read):
        command.add_argument("--json", action="store_true", help="one JSON object per line")


def _number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 1 or more")
    return number


def _topic(arguments: argparse.Namespace) -> int:
    from streamer.kafka.admin import TopicSpec

    kafka = _Kafka(arguments)
    wanted: int | None = arguments.partitions
    there = kafka.partitions(arguments.topics)
    for name, count in there.items():
        if wanted not in (None, count):
            raise OperationRefusedError(
                f"topic {name} is there and has {count} partitions, not {wanted}",
                hint="nothing was changed; leave --partitions out, or choose another name",
            )
    missing = [name for name in dict.fromkeys(arguments.topics) if name not in there]
    kafka.admin.create([TopicSpec(name, wanted or _PARTITIONS) for name in missing])
    counts = there | dict.fromkeys(missing, wanted or _PARTITIONS)
    if arguments.json:
        print_json([{"topic": each, "partitions": counts[each]} for each in counts])
    else:
        for name in missing:
            print(f"created {name} with {counts[name]} partitions")
        for name, count in there.items():
            print(f"{name} is there, with {count} partitions")
    return 0


def _produce(arguments: argparse.Namespace) -> int:
    from streamer.kafka.producer import WorkerProducer

    kafka = _Kafka(arguments)
    kafka.check(arguments.topic)
    records = parsed(_lines(arguments.file), as_json=arguments.json, now_ms=_now_ms())
    producer = WorkerProducer(kafka.config, None)
    try:
        producer.send(
            arguments.topic,
            [record.key for record in records],
            [record.value for record in records],
            timestamps=[record.timestamp_ms for record in records],
            headers=[record.headers for record in records],
        )
        producer.commit({}, None)
    finally:
        producer.close()
    noun = "record" if len(records) == 1 else "records"
    print(f"wrote {len(records):,} {noun} to {arguments.topic}", file=sys.stderr)
    return 0


def _read(arguments: argparse.Namespace) -> int:
    kafka = _Kafka(arguments)
    kafka.check(arguments.topic)
    shown = as_json if arguments.json else as_text
    for record in kafka.records(arguments.topic, arguments.from_beginning, arguments.count):
        print(shown(record), flush=True)
    return 0


def _lines(file: Path | None) -> list[str]:
    source = sys.stdin.buffer if file is None else file
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
        return data.decode("utf-8").split("\n")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file or 'the input'} is not UTF-8 text: {error}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Kafka:
    """The broker that a command is for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from streamer.config import Config
        from streamer.kafka.admin import Admin

        quiet_clients(arguments)
        servers = arguments.bootstrap_servers or _sandbox(arguments)
        self.config = Config(application_id="streamer-sandbox", bootstrap_servers=servers)
        self.admin = Admin(self.config, timeout_s=_ASKED_S)

    def partitions(self, topics: list[str]) -> dict[str, int]:
        """How many partitions each topic has; those that do not exist are left out."""
        found: dict[str, int] = {}
        for topic in dict.fromkeys(topics):
            try:
                found |= self.admin.partitions([topic])
            except TopicMissingError:
                continue
        return found

    def check(self, topic: str) -> None:
        if not self.partitions([topic]):
            raise TopicMissingError(
                f"topic {topic} does not exist at {self.config.bootstrap_servers}",
                hint=f"create it: streamer sandbox topic {topic}",
            )

    def records(self, topic: str, from_beginning: bool, count: int | None) -> Iterator[Record]:
        """Committed records as they come, `count` of them or without an end."""
        from streamer.ids import TopicPartition
        from streamer.kafka.consumer import InputConsumer

        total = self.partitions([topic])[topic]
        places = [TopicPartition(topic, number) for number in range(total)]
        starts = self.admin.starts(places) if from_beginning else self.admin.ends(places)
        left: Any = count if count is not None else float("inf")
        reader = InputConsumer(self.config)
        try:
            reader.add(starts)
            while left:
                fetched = reader.fetch(int(min(left, _FETCH_RECORDS)), _FETCH_MS)
                for error in fetched.failures.values():
                    raise error
                for batch in fetched.batches:
                    left -= len(batch)
                    columns = zip(
                        batch.keys, batch.values, batch.timestamps, batch.offsets, strict=True
                    )
                    for row, (key, value, stamp, offset) in enumerate(columns):
                        headers = batch.headers_at(row)
                        yield Record(key, value, stamp, headers, topic, batch.partition, offset)
        finally:
            reader.close()


def _sandbox(arguments: argparse.Namespace) -> str:
    from streamer.sandbox import background

    directory = arguments.directory or background.default_directory()
    found = background.status(directory)
    if not found.is_answering:
        raise SandboxError(
            f"no sandbox answers in {directory}",
            hint="start it with `streamer sandbox up`, or give --bootstrap-servers",
        )
    return found.bootstrap_servers
