from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.broker import commands

ROOT = Path(__file__).parents[2]
APP = """
from datetime import timedelta
from streamer import App, Count, TumblingWindows

app = App("{application}", commit_interval_ms=100, max_poll_records=500)
purchases = app.stream("{topic}", key=str, value=int).group_by_key()
purchases.aggregate(int, lambda key, value, total: total + value, store="totals")
purchases.windowed_by(TumblingWindows(timedelta(hours=1))).count(store="hourly")
"""
HOUR = 3_600_000
KEYS = 300


class CommandLine:
    """The command line where `shop.py` lies; but for the workers, in this process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return commands.run(*arguments)

    def json(self, *arguments: str) -> Any:
        return commands.answer(*arguments)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, kafka: Any, broker: str) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("shop")
    application = "command-line-" + re.sub(r"\W", "", directory.name) + f"-{os.getpid()}"
    kafka.create(f"{application}.purchases", partitions=4)
    text = APP.format(application=application, topic=f"{application}.purchases")
    (directory / "shop.py").write_text(text, encoding="utf-8")
    amounts = ((f"key-{n % KEYS:03}", (n // KEYS).to_bytes(8, "big")) for n in range(KEYS * 4))
    kafka.produce(f"{application}.purchases", amounts, timestamp_ms=lambda n: n // KEYS * HOUR + 5)
    with pytest.MonkeyPatch.context() as patch, (directory / "log").open("wb") as log:
        patch.chdir(directory)
        patch.setattr(sys, "path", [str(directory), *sys.path])
        patch.delitem(sys.modules, "shop", raising=False)
        patch.setenv("STREAMER_BOOTSTRAP_SERVERS", broker)
        patch.setenv("STREAMER_APP", "shop:app")
        patch.setenv("PYTHONPATH", str(ROOT))
        workers = subprocess.Popen(
            [sys.executable, "-m", "streamer.cli.main", "run", "shop:app", "--processes", "2"],
            stdout=log,
            stderr=log,
        )
        try:
            yield CommandLine(directory)
            workers.send_signal(signal.SIGTERM)
            assert workers.wait(360) == 0, (directory / "log").read_text()[-4000:]
        finally:
            workers.kill()
            workers.wait()
            sys.modules.pop("shop", None)


@pytest.fixture(scope="module")
def running(shell: CommandLine) -> CommandLine:
    """Once all tasks run on both workers and nothing is left to read."""
    deadline = time.monotonic() + 480
    while True:
        code, out, _err = shell.run("show", "tasks", "--json")
        tasks = json.loads(out) if code == 0 else []
        owners = {task["worker"] for task in tasks if task["state"] == "running"}
        lags = [task["lag_records"] for task in tasks]
        if len(tasks) == 4 and len(owners) == 2 and lags == [0] * 4 and _total(shell) == 6:
            return shell
        assert time.monotonic() < deadline, (tasks, (shell.directory / "log").read_text()[-4000:])
        time.sleep(0.2)


def _total(shell: CommandLine) -> int:
    code, out, _err = shell.run("query", "totals", f"key-{KEYS - 1:03}")
    return int(out) if code == 0 else -1


def test_workers_tasks_and_lag_are_shown(running: CommandLine) -> None:
    workers = running.json("show", "workers")
    assert [worker["is_alive"] for worker in workers] == [True, True]
    assert [worker["is_controller"] for worker in workers].count(True) == 1
    assert sorted(task for worker in workers for task in worker["tasks"]) == [
        "0_0",
        "0_1",
        "0_2",
        "0_3",
    ]
    code, out, _err = running.run("show", "lag")
    assert code == 0
    assert out.splitlines()[0].split() == ["task", "worker", "lag", "records"]
    assert out.splitlines()[-1].split() == ["all", "-", "0"]


def test_stores_are_gathered_from_all_workers(running: CommandLine) -> None:
    stores = running.json("show", "stores")
    assert [(store["name"], store["kind"]) for store in stores] == [
        ("hourly", "window"),
        ("totals", "key-value"),
    ]
    assert {task["task"] for store in stores for task in store["tasks"]} == {
        "0_0",
        "0_1",
        "0_2",
        "0_3",
    }


def test_metrics_are_served_as_they_are_documented(running: CommandLine) -> None:
    found: dict[str, float] = {}
    for worker in running.json("show", "workers"):
        with urlopen(f"http://{worker['address']}/metrics", timeout=120) as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    found[name] = found.get(name, 0) + float(value)
    documented = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in found:
        plain = re.sub(r"_(bucket|count|sum)$", "", name.partition("{")[0])
        assert f"| `{plain}` |" in documented, name
    consumed = [value for name, value in found.items() if "records_consumed_total{" in name]
    assert sum(consumed) == KEYS * 4
    assert found["streamer_assigned_tasks"] == 4
    assert found["streamer_controller"] == 1
    assert found['streamer_memory_budget_bytes{part="record_cache"}'] == 2 * 416 * 2**20 * 13 // 100
    assert found['streamer_rocksdb_memory_bytes{part="capacity"}'] > 2 * 416 * 2**20 * 0.4 - 10
    assert found['streamer_task_state{state="running",task="0_2"}'] == 1
    keys = [value for name, value in found.items() if name.startswith("streamer_store_keys{")]
    assert sum(keys) >= KEYS


def test_a_key_is_found_wherever_it_is(running: CommandLine) -> None:
    for key in ("key-000", "key-001", "key-002", "key-003", "key-004"):
        assert running.run("query", "totals", key) == (0, "6\n", "")
    row = running.json("query", "totals", "key-007")
    assert (row["key"], row["value"]) == ("key-007", 6)


def test_windows_of_a_key_are_listed(running: CommandLine) -> None:
    code, out, _err = running.run(
        "query", "hourly", "key-007", "--from", "1970-01-01T02:00Z", "--to", str(4 * HOUR)
    )
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["key", "start", "end", "value"],
        ["key-007", "1970-01-01T02:00:00Z", "1970-01-01T03:00:00Z", "1"],
        ["key-007", "1970-01-01T03:00:00Z", "1970-01-01T04:00:00Z", "1"],
    ]


def test_ranges_are_whole_and_in_order_over_pages(running: CommandLine) -> None:
    seen: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = running.json("query", "totals", "--prefix", "key-", "--limit", "120", *after)
        seen += [row["key"] for row in page["rows"]]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert seen == [f"key-{number:03}" for number in range(KEYS)]
    page = running.json("query", "totals", "--range", "key-010", "key-013")
    assert [row["key"] for row in page["rows"]] == ["key-010", "key-011", "key-012"]


def test_a_range_of_one_worker_says_what_it_leaves_out(running: CommandLine) -> None:
    workers = running.json("show", "workers")
    url = f"http://{workers[0]['address']}"
    page = running.json("query", "totals", "--prefix", "key-", "--limit", "1000", "--url", url)
    assert len(page["rows"]) == KEYS  # the other worker's address is learnt from the first


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("query", "totals", "nobody"), 1, "store 'totals' has no key 'nobody'"),
        (("query", "totls", "key-001"), 1, "did you mean 'totals'?"),
        (("query", "totals", "key-001", "--from", "0"), 2, "unknown parameter 'from'"),
        (("query", "totals", "k", "--url", "127.0.0.1:1"), 1, "worker 127.0.0.1:1 does not answer"),
        (("show", "tasks", "--app", "no-such-application"), 1, "no control topics"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(
    running: CommandLine, arguments: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = running.run(*arguments)
    assert message in err
    assert "Traceback" not in err
    assert (found, out) == (code, "")
