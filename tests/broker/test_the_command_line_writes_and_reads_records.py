"""`streamer sandbox topic`, `produce` and `read`, against the session's broker."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from streamer.cli.main import main
from streamer.topology.partitioner import partition_of
from tests.broker.conftest import Kafka, Names, wait_until

Captured = pytest.CaptureFixture[str]


def run(broker: str, capsys: Captured, *arguments: str, code: int = 0) -> str:
    found = main(["sandbox", *arguments, "--bootstrap-servers", broker])
    out, err = capsys.readouterr()
    assert found == code, err
    return out if code == 0 else err


def test_what_is_written_can_be_read(
    broker: str, kafka: Kafka, names: Names, capsys: Captured, tmp_path: Path
) -> None:
    topic, other = names.topic("in"), names.topic("other")
    assert run(broker, capsys, "topic", topic, "--partitions", "3") == (
        f"created {topic} with 3 partitions\n"
    )
    again = run(broker, capsys, "topic", topic, other, "--json")
    assert json.loads(again) == [
        {"topic": topic, "partitions": 3},
        {"topic": other, "partitions": 4},
    ]
    refused = run(broker, capsys, "topic", topic, "--partitions", "4", code=3)
    assert f"topic {topic} is there and has 3 partitions, not 4" in refused
    assert kafka.partitions(topic) == [0, 1, 2]

    lines = tmp_path / "lines"
    lines.write_text('ann\t{"cents": 250}\nbob\t{"cents": 100}\nann\t{"cents": 1}\n')
    run(broker, capsys, "produce", topic, "--file", str(lines))
    found = run(broker, capsys, "read", topic, "--from-beginning", "--count", "3").splitlines()
    assert sorted(found) == ['ann\t{"cents": 1}', 'ann\t{"cents": 250}', 'bob\t{"cents": 100}']
    assert [line for line in found if "ann" in line] == ['ann\t{"cents": 250}', 'ann\t{"cents": 1}']
    for record in kafka.read(topic):
        assert record.key is not None
        assert record.partition == partition_of(record.key, 3)


def test_json_carries_times_headers_and_tombstones(
    broker: str, kafka: Kafka, names: Names, capsys: Captured, monkeypatch: Any
) -> None:
    topic = names.topic("in")
    run(broker, capsys, "topic", topic, "--partitions", "1")
    given = b'{"key": "ann", "value": null, "timestamp_ms": 5, "headers": [["h", "x"]]}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    run(broker, capsys, "produce", topic, "--json")
    (record,) = kafka.read(topic)
    assert (record.key, record.value, record.timestamp_ms) == (b"ann", None, 5)
    assert record.headers == [("h", b"x")]
    printed = run(broker, capsys, "read", topic, "--from-beginning", "--count", "1", "--json")
    assert json.loads(printed) == {
        "partition": 0,
        "offset": 0,
        "timestamp_ms": 5,
        "key": "ann",
        "value": None,
        "headers": [["h", "x"]],
    }


def test_a_wrong_line_writes_nothing_and_a_missing_topic_is_named(
    broker: str, kafka: Kafka, names: Names, capsys: Captured, tmp_path: Path
) -> None:
    topic = names.topic("in")
    lines = tmp_path / "lines"
    lines.write_text("ann\t1\nbob 2\n")
    missing = run(broker, capsys, "produce", topic, "--file", str(lines), code=1)
    assert f"topic {topic} does not exist at {broker}" in missing
    assert f"hint: create it: streamer sandbox topic {topic}" in missing
    run(broker, capsys, "topic", topic, "--partitions", "1")
    assert "line 2 has no TAB" in run(
        broker, capsys, "produce", topic, "--file", str(lines), code=2
    )
    assert kafka.read(topic) == []


def test_by_default_only_what_comes_is_read(
    broker: str, kafka: Kafka, names: Names, capsys: Captured
) -> None:
    topic = names.topic("in")
    run(broker, capsys, "topic", topic, "--partitions", "1")
    kafka.produce(topic, [("before", "0")])
    arguments = ["sandbox", "read", topic, "--count", "1", "--bootstrap-servers", broker]
    reader = threading.Thread(target=main, args=(arguments,), daemon=True)
    reader.start()

    def is_read() -> bool:
        kafka.produce(topic, [("after", "1")])
        reader.join(0.3)
        return not reader.is_alive()

    wait_until(is_read, what="reading a new record")
    assert capsys.readouterr().out == "after\t1\n"
