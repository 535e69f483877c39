"""Somebody writes into the control topics of a running application what does not belong there."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from tests.broker.conftest import wait_until
from tests.broker.expected import check
from tests.broker.workers import DEFAULTS, Application, Worker
from tests.thorough import thorough

OUTPUTS = ("totals", "closed", "every")
BLOCK = 500
PARTITIONS = int(str(DEFAULTS["assignment_partitions"]))


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    rows = [(f"customer-{row % 60}", str(row % 100)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), rows, timestamp_ms=lambda row: begin + row)


def two_workers(application: Any) -> tuple[Application, Worker, Worker]:
    """The controller, and the other one, with a share for each."""
    made: Application = application("counts", outputs=OUTPUTS)
    first = made.worker("a", worker_id="w1")
    first.wait_started(2)
    second = made.worker("b", worker_id="w2")
    wait_until(lambda: second.started() and len(first.tasks()) == 1, what="a share for each")
    assert first.metric("streamer_controller") == 1
    return made, first, second


@thorough
def test_one_in_the_status_is_passed_over_by_every_controller(application: Any) -> None:
    made, first, second = two_workers(application)
    produce(made, 0)
    made.wait_until_done(watch=[first, second])
    topic = f"{made.name}.status"

    strange = [("stranger", b'{"hello": "\xff"}'), ("w2", b'{"format":7,"tasks":"all"}')]
    made.kafka.produce(topic, strange)

    first.wait_for(f"{topic}: the record of key 'w2' has format version 7; this release reads 1")
    first.wait_for(f"{topic}: the record of key 'stranger' is not a control record")
    assert first.metric("streamer_statuses_refused_total") >= 2
    produce(made, 1)
    made.wait_until_done(watch=[first, second])

    first.kill()
    wait_until(lambda: len(second.tasks()) == 2, what="a take-over of all tasks")
    second.wait_for("the record of key 'stranger' is not a control record")
    assert "worker stranger" not in second.text, "nobody knows of such a worker"
    produce(made, 2)
    made.wait_until_done(watch=[second])
    assert "take the right to write there from everybody else" in second.text
    check(made)


def test_one_in_the_assignments_ends_the_worker_of_its_key_and_no_other(application: Any) -> None:
    made, first, second = two_workers(application)
    topic, partition = f"{made.name}.assignments", crc32(b"w2") % PARTITIONS
    # Whole ones, with a field of a later release, do no harm, whoever they speak of.
    status = (
        b'{"format":1,"number":1,"worker":"guest","incarnation":"9f3c.0","tasks":{},"hue":[{}]}'
    )
    made.kafka.produce(f"{made.name}.status", [("guest", status)])
    assignment = b'{"format":1,"version":9,"worker":"gone","incarnation":"77aa.3","hue":null}'
    made.kafka.produce(topic, [("gone", assignment)], partition=partition)

    made.kafka.produce(topic, [("w2", b'{"format":7,"tasks":"all"}')], partition=partition)

    assert second.wait() == 1
    assert second.error.startswith(f"{topic}: the record of key 'w2' has format version 7; this")
    wait_until(lambda: len(first.tasks()) == 2, what="a take-over of all tasks")
    produce(made, 0)
    made.wait_until_done(watch=[first])
    # What the controller wrote since has replaced it, also for the next controller.
    again = made.worker("b", worker_id="w2")
    wait_until(again.started, what="a share for the worker that came back")
    # One that only the next controller meets: nobody else reads this key.
    made.kafka.produce(topic, [("lost", b"junk")], partition=crc32(b"lost") % PARTITIONS)
    first.kill()
    produce(made, 1)
    made.wait_until_done(watch=[again])
    again.wait_for("worker gone is fenced")
    again.wait_for("an assignment is taken out, its worker is fenced")
    assert again.metric("streamer_assignments_refused_total") == 1
    check(made)
