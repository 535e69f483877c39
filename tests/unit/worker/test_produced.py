"""Each policy for results that are too large, and changes of state, which have none."""

from __future__ import annotations

import pytest

from streamer import metrics
from streamer.config import Config
from streamer.errors import RecordRefusedError, RecordTooLargeError
from streamer.ids import TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.topology.partitioner import partition_of
from streamer.worker.produced import WorkerOutput

CHANGELOG = TopicPartition("app-totals-changelog", 0)
LARGE = b"x" * 600


@pytest.fixture
def broker() -> FakeBroker:
    broker = FakeBroker(partition_of=partition_of, now_ms=lambda: 7, message_bytes_max=500)
    for topic in ("out", "dead", "a-changelog", CHANGELOG.topic):
        broker.create(topic, 1)
    return broker


def output(broker: FakeBroker, policy: str) -> WorkerOutput:
    config = Config(application_id="app", production_error=policy, dead_letter_topic="dead")
    made = WorkerOutput(config, broker.producer("app-1"))
    made.init()
    return made


def send(made: WorkerOutput, *values: bytes, topic: str = "out") -> None:
    keys = [str(row).encode() for row in range(len(values))]
    made.send(topic, keys, values, timestamps=[1] * len(values))


def errors(policy: str) -> float:
    value: float = metrics.errors.labels("-", "production", policy)._value.get()
    return value


def test_stop_raises(broker: FakeBroker) -> None:
    with pytest.raises(RecordTooLargeError, match="writing 601 bytes to out, key b'1'"):
        send(output(broker, "stop"), b"a", LARGE, b"c")


def test_skip_leaves_out_that_one_and_counts_it_with_the_commit(broker: FakeBroker) -> None:
    made = output(broker, "skip")
    before = errors("skip")
    send(made, b"a", LARGE, b"c")
    made.abort()
    assert errors("skip") == before
    send(made, b"a", LARGE, b"c")
    made.commit({}, "g")
    assert errors("skip") == before + 1
    assert [one.value for one in broker.records("out")] == [b"a", b"c"]
    assert broker.records("dead") == []


def test_a_dead_letter_keeps_the_key_and_the_cause(broker: FakeBroker) -> None:
    made = output(broker, "dead_letter")
    made.inputs = lambda: {TopicPartition("in", 1): 40, TopicPartition("in", 0): 30}
    # A name of the user's that ends like a changelog's is a result as any other.
    send(made, b"a", LARGE, b"c", topic="a-changelog")
    made.commit({}, "g")
    (letter,) = broker.records("dead")
    assert (letter.key, letter.value) == (b"1", None)
    headers = {name: (value or b"").decode() for name, value in letter.headers}
    assert headers["__streamer.errors.output"] == "a-changelog"
    assert headers["__streamer.errors.size"] == "600"
    assert headers["__streamer.errors.inputs"] == "in/0: 30, in/1: 40"
    assert headers["__streamer.errors.exception"] == "streamer.errors.RecordTooLargeError"
    places = [headers[f"__streamer.errors.{name}"] for name in ("topic", "partition", "offset")]
    assert places == ["(result)", "-1", "-1"]
    assert "writing 601 bytes to a-changelog" in headers["__streamer.errors.message"]
    assert len(broker.records("a-changelog")) == 2


@pytest.mark.parametrize("policy", ["skip", "dead_letter"])
def test_a_dead_letter_that_is_too_large_is_raised(broker: FakeBroker, policy: str) -> None:
    with pytest.raises(RecordTooLargeError, match="bytes to dead"):
        send(output(broker, policy), LARGE, topic="dead")


@pytest.mark.parametrize("policy", ["stop", "skip", "dead_letter"])
def test_a_change_of_state_is_raised_whatever_the_policy(broker: FakeBroker, policy: str) -> None:
    made = output(broker, policy)
    with pytest.raises(RecordTooLargeError, match="the state of a key is too large") as raised:
        made.send_changes(CHANGELOG, [(b"a", b"1"), (b"key", LARGE)])
    assert f"writing 603 bytes to {CHANGELOG.topic}, key b'key'" in str(raised.value)
    assert f"raise max.message.bytes of {CHANGELOG.topic}" in raised.value.hint
    # Results are treated as before.
    if policy != "stop":
        send(made, LARGE)


@pytest.mark.parametrize("policy", ["skip", "dead_letter"])
def test_a_record_on_its_way_home_is_never_left_out(broker: FakeBroker, policy: str) -> None:
    strays = "app-in-strays.layout-2"
    broker.create(strays, 1)
    with pytest.raises(RecordRefusedError, match="on its way to its key's task is refused") as no:
        send(output(broker, policy), LARGE, topic=strays)
    assert f"see to the settings of {strays}" in no.value.hint


def test_another_producer_is_asked_the_same(broker: FakeBroker) -> None:
    made = output(broker, "skip")
    made.renew(broker.producer("app-1"))
    made.init()
    send(made, LARGE, b"b")
    made.commit({}, "g")
    assert [one.value for one in broker.records("out")] == [b"b"]


def test_a_stamp_is_on_what_goes_to_others_and_on_nothing_else(broker: FakeBroker) -> None:
    broker.create("app-again-repartition", 1)
    config = Config(application_id="app", dead_letter_topic="dead")
    made = WorkerOutput(config, broker.producer("app-1"), stamp=[("by", b"me")])
    made.init()
    made.send("out", [b"k"], [b"v"], timestamps=[1], headers=[[("a", b"1")]])
    send(made, b"v")
    send(made, b"v", topic="app-again-repartition")
    made.commit({}, "g")
    assert [one.headers for one in broker.records("out")] == [
        [("a", b"1"), ("by", b"me")],
        [("by", b"me")],
    ]
    assert not broker.records("app-again-repartition")[0].headers
