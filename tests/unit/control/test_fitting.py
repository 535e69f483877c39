"""A worker of thousands of tasks says who owns what, and leaves out what matters less."""

from __future__ import annotations

import pytest

from streamer.control.fitting import fitted
from streamer.control.messages import (
    FORMAT,
    StandbyReport,
    StatusRecord,
    TaskReport,
    decode_status,
    encode,
)
from streamer.errors import ConfigError

TASK = TaskReport(
    state="running",
    lag_records=7,
    positions={f"a-topic-of-some-length/{number}": 10**12 for number in range(3)},
    durable={"store": 10**12},
    bytes=10**9,
)
COPY = StandbyReport(lag_records=3, durable={"store": 10**12})
STATUS = StatusRecord(
    format=FORMAT,
    number=1,
    worker="w1",
    incarnation="9f3c.0",
    tasks={f"0_{number}": TASK for number in range(5_000)},
    standbys={f"1_{number}": COPY for number in range(4_000)},
    shadows={f"0_{number}": COPY for number in range(1_000)},
    shadows_of="fold-1",
)


def read(value: bytes) -> StatusRecord:
    return decode_status("shop.status", "w1", value)


def test_what_fits_is_written_whole() -> None:
    whole = len(encode(STATUS))
    assert fitted(STATUS, whole) == (encode(STATUS), "")


def test_positions_in_the_inputs_go_first_and_those_in_changelogs_next() -> None:
    value, left_out = fitted(STATUS)
    assert left_out == "the positions in the inputs"
    one = read(value).tasks["0_4999"]
    assert (one.positions, one.durable, one.lag_records) == ({}, TASK.durable, 7)
    value, left_out = fitted(STATUS, 600_000)
    assert left_out == "the positions in inputs and changelogs"
    told = read(value)
    assert told.tasks.keys() == STATUS.tasks.keys()
    assert {(each.state, each.bytes, len(each.durable)) for each in told.tasks.values()} == {
        ("running", 10**9, 0)
    }
    copies = [*told.standbys.values(), *told.shadows.values()]
    assert len(copies) == 5_000
    assert {(each.lag_records, len(each.durable)) for each in copies} == {(3, 0)}


def test_more_tasks_than_can_be_told_are_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="for 5000 tasks and 5000 copies") as raised:
        fitted(STATUS, 100_000)
    assert "start more workers" in raised.value.hint
