"""`streamer query` against real servers, without Kafka."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from streamer.cli import query
from streamer.cli.main import main
from streamer.ids import TaskId
from streamer.topology.app import App
from streamer.topology.partitioner import partition_of
from streamer.topology.windows import TumblingWindows
from tests.unit.http.conftest import Start, Worker, start, window

__all__ = ["start"]

NAMES = [f"k{number:03}" for number in range(60)]
HOUR = 3_600_000


class Shell:
    """Runs `streamer query` against the first of two workers."""

    def __init__(self, workers: list[Worker], capsys: pytest.CaptureFixture[str]) -> None:
        self.workers = workers
        self._capsys = capsys

    def query(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        url = f"http://{self.workers[0].address}"
        found = main(["query", *arguments, "--url", url])
        out, err = self._capsys.readouterr()
        assert found == code, err
        return out, err

    def json(self, *arguments: str) -> Any:
        return json.loads(self.query(*arguments, "--json")[0])


@pytest.fixture
def shell(start: Start, capsys: pytest.CaptureFixture[str]) -> Shell:
    app = App("spend")
    stream = app.stream("purchases", key=str, value=int).group_by_key()
    stream.aggregate(dict, lambda key, value, total: total, store="totals")
    stream.windowed_by(TumblingWindows(timedelta(hours=1))).count(
        store="hourly", retention=timedelta(days=1)
    )
    topology = app.topology()
    workers = [start(topology, counts=2), start(topology, counts=2)]
    for number, worker in enumerate(workers):
        worker.open(number, stream_time_ms=5 * HOUR)
        worker.owners[TaskId(0, 1 - number)] = workers[1 - number].address
        own = [name for name in NAMES if partition_of(name.encode(), 2) == number]
        worker.put("totals", {name.encode(): (1, b'{"name":"%s"}' % name.encode()) for name in own})
        rows = {window(hour * HOUR, name): (1, b"%d" % hour) for name in own for hour in (2, 3, 4)}
        worker.put("hourly", rows)
    return Shell(workers, capsys)


def test_a_key_of_any_worker(shell: Shell) -> None:
    for name in NAMES[:6]:
        assert shell.query("totals", name) == (f'{{"name": "{name}"}}\n', "")
    row = shell.json("totals", "k001")
    assert (row["key"], row["value"], row["stream_time_ms"]) == (
        "k001",
        {"name": "k001"},
        5 * HOUR,
    )


def test_an_absent_key_ends_with_1(shell: Shell) -> None:
    out, err = shell.query("totals", "nobody", code=1)
    assert (out, err.splitlines()[0]) == ("", "streamer: store 'totals' has no key 'nobody'")


def test_windows_of_a_key(shell: Shell) -> None:
    out, _err = shell.query("hourly", "k001", "--from", "1970-01-01T03:00Z", "--to", str(4 * HOUR))
    assert [line.split() for line in out.splitlines()] == [
        ["key", "start", "end", "value"],
        ["k001", "1970-01-01T03:00:00Z", "1970-01-01T04:00:00Z", "3"],
    ]


def test_a_prefix_and_a_range_are_gathered_from_both_workers_in_order(shell: Shell) -> None:
    page = shell.json("totals", "--prefix", "k00")
    assert [row["key"] for row in page["rows"]] == NAMES[:10]
    assert {row["task"] for row in page["rows"]} == {"0_0", "0_1"}
    page = shell.json("totals", "--range", "k010", "k013")
    assert [row["key"] for row in page["rows"]] == ["k010", "k011", "k012"]
    assert (page["next"], page["missing"]) == (None, [])


@pytest.mark.parametrize("limit", [pytest.param(1, marks=pytest.mark.slow), 7, 59, 60, 100])
def test_pages_over_both_workers_hold_every_row_once(shell: Shell, limit: int) -> None:
    seen: list[str] = []
    after: tuple[str, ...] = ()
    for _ in range(100):
        page = shell.json("totals", "--limit", str(limit), *after)
        seen += [row["key"] for row in page["rows"]]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert seen == NAMES


def test_a_limited_table_says_how_to_go_on(shell: Shell) -> None:
    out, err = shell.query("totals", "--limit", "2")
    assert [line.split(maxsplit=1)[0] for line in out.splitlines()] == ["key", "k000", "k001"]
    assert err == "more: --after 0x6b303031\n"


def test_windows_of_all_keys(shell: Shell) -> None:
    page = shell.json("hourly", "--from", str(4 * HOUR), "--limit", "1000")
    assert [row["key"] for row in page["rows"]] == NAMES


def test_what_is_missing_is_said_and_ends_with_1(shell: Shell) -> None:
    server = shell.workers[1].server
    assert server is not None
    shell.workers[0].owners.clear()
    out, err = shell.query("totals", "--prefix", "k00", code=1)
    here = [name for name in NAMES[:10] if partition_of(name.encode(), 2) == 0]
    assert [line.split()[0] for line in out.splitlines()[1:]] == here
    assert err == "streamer: task 0_1 is not included: nobody is known to run it\n"


def test_encodings(shell: Shell) -> None:
    row = shell.json("totals", b"k001".hex(), "--key-encoding", "hex", "--value-encoding", "hex")
    assert row["key"] == b"k001".hex()
    assert bytes.fromhex(row["value"]) == b'{"name":"k001"}'


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["totls", "ann"], 1, "hint: did you mean 'totals'?"),
        (["totals", "ann", "--from", "1"], 2, "unknown parameter 'from'"),
        (["totals", "--limit", "10001"], 2, "limit='10001' is not a number from 1 to 10000"),
        (["totals", "ann", "--prefix", "a"], 2, "a key and --prefix were given"),
        (["totals", "--prefix", "a", "--range", "a", "b"], 2, "--prefix and --range were given"),
        (["hourly", "--prefix", "a"], 2, "prefix= is not for store 'hourly', a window store"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    shell: Shell, arguments: list[str], code: int, message: str
) -> None:
    out, err = shell.query(*arguments, code=code)
    assert out == ""
    assert message in err


# -- copies --------------------------------------------------------------------------------------


@pytest.fixture
def copied(shell: Shell) -> Shell:
    """The first worker keeps a copy of the second one's task, which lacks 1,200 records."""
    first, second = shell.workers
    first.open(1, state="standby", lag=1_200)
    own = [name for name in NAMES if partition_of(name.encode(), 2) == 1]
    first.put("totals", {name.encode(): (1, b'{"name":"copy"}') for name in own})
    first.put("hourly", {window(2 * HOUR, name): (1, b"7") for name in own})
    second.copies[TaskId(0, 1)] = [(first.address, 1_200)]
    return shell


AT_SECOND = next(name for name in NAMES if partition_of(name.encode(), 2) == 1)


@pytest.mark.slow
def test_a_copy_is_read_where_the_client_takes_its_lag_and_that_is_said(copied: Shell) -> None:
    expected = ('{"name": "copy"}\n', "(standby, 1,200 records behind)\n")
    assert copied.query("totals", AT_SECOND, "--max-lag", "1200") == expected
    found = copied.json("totals", AT_SECOND, "--max-lag", "1200")
    assert (found["role"], found["lag_records"]) == ("standby", 1_200)
    for lag in ("0", "1199"):
        out, err = copied.query("totals", AT_SECOND, "--max-lag", lag)
        assert (out, err) == (f'{{"name": "{AT_SECOND}"}}\n', "")


def test_windows_of_a_copy_say_so_below_the_table(copied: Shell) -> None:
    out, err = copied.query("hourly", AT_SECOND, "--max-lag", "1200")
    assert [line.split()[-1] for line in out.splitlines()] == ["value", "7"]
    assert err == "task 0_1: (standby, 1,200 records behind)\n"


def test_many_rows_come_from_owners_unless_copies_are_taken_and_near(
    copied: Shell, monkeypatch: Any
) -> None:
    addresses = [worker.address for worker in copied.workers]
    for asked, more in ((addresses[:1], ()), (addresses, ("--max-lag", "5000"))):
        monkeypatch.setattr(query, "_addresses", lambda _arguments, found=asked: found)
        page = copied.json("totals", "--limit", "100", *more)
        assert [row["value"] for row in page["rows"]] == [{"name": name} for name in NAMES]
        assert set(page) == {"store", "rows", "next", "missing"}
    monkeypatch.undo()
    page = copied.json("totals", "--limit", "100", "--max-lag", "5000")
    assert page["standbys"] == {"0_1": 1_200}
    assert {row["task"] for row in page["rows"] if row["value"] == {"name": "copy"}} == {"0_1"}


def test_many_rows_come_from_a_copy_where_the_owner_does_not_answer(copied: Shell) -> None:
    server = copied.workers[1].server
    assert server is not None
    server.close()
    page = copied.json("totals", "--limit", "100")
    assert [row["key"] for row in page["rows"]] == NAMES
    assert {row["task"] for row in page["rows"] if row["value"] == {"name": "copy"}} == {"0_1"}
    assert (page["standbys"], page["missing"]) == ({"0_1": 1_200}, [])
    assert list(page["silent"]) == [copied.workers[1].address]
    out, err = copied.query("totals", "--prefix", "k00")
    assert len(out.splitlines()) == 11
    assert err == "task 0_1: (standby, 1,200 records behind)\n"


def test_a_copy_that_lacks_too_much_is_not_read_and_what_is_missing_is_said(
    copied: Shell,
) -> None:
    server = copied.workers[1].server
    assert server is not None
    server.close()
    for more in (("--max-lag", "0"), ("--max-lag", "1199")):
        _out, err = copied.query("totals", "--prefix", "k00", *more, code=1)
        lines = err.splitlines()
        assert f"worker {copied.workers[1].address} does not answer" in lines[0]
        assert lines[1].startswith("streamer: task 0_1 is not included: 127.0.0.1:")


def test_a_max_lag_that_is_no_number_of_records_is_refused(shell: Shell) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["query", "totals", "ann", "--max-lag", "-1"])
    assert caught.value.code == 2


@pytest.mark.slow
def test_one_key_is_asked_for_at_the_next_worker_where_the_first_is_gone(
    shell: Shell, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = ["127.0.0.1:9", shell.workers[0].address]
    monkeypatch.setattr(query, "_addresses", lambda _arguments: addresses)
    assert main(["query", "totals", "k001"]) == 0
    assert capsys.readouterr().out == '{"name": "k001"}\n'
    assert main(["query", "totals", "nobody"]) == 1
    addresses.pop()
    assert main(["query", "totals", "k001"]) == 1
    assert "does not answer" in capsys.readouterr().err
