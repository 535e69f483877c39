"""`streamer snapshot restore` and `inspect`: a state as of a time, looked at without Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamer import App, TumblingWindows
from streamer.changelog.format import Positions
from streamer.cli.main import main
from streamer.cli.output import moment
from streamer.config import Config
from streamer.ids import Layout, TaskId
from streamer.restore import at_rest
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Manifest, Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.store.keys import row, session_key, window_key
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.serde import Int64, Utf8
from streamer.topology.stores import Store, StoreKind, StoreSpec

NOON_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
SPECS = (
    Store("totals", str, int).spec(),
    StoreSpec("hourly", StoreKind.WINDOW, Utf8, Int64, window_size_ms=HOUR_MS),
    StoreSpec("visits", StoreKind.SESSION, Utf8, Int64),
)

app = App("spend")
_purchases = app.stream("purchases", key=str, value=int).group_by_key()
_purchases.aggregate(int, lambda key, value, total: total + value, store="totals")
_purchases.windowed_by(TumblingWindows(timedelta(hours=1))).aggregate(
    int, lambda key, value, total: total + value, store="hourly"
)


class Past:
    """A repository with snapshots of several times, and the command line beside it."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = tmp_path
        self.address = f"file://{tmp_path / 'repository'}"
        self.place: Repository = open_repository(
            Config(application_id="spend", snapshot_repository=self.address)
        )
        self.to = tmp_path / "then"
        self._capsys = capsys
        self._count = 0

    def make(self, task: str, *, hours: int, layout: int = 1, totals: int = 7) -> Manifest:
        """Of a state whose `ann` has `totals`, made so many hours after noon."""
        self._count += 1
        where = self.home / f"made-{self._count}"
        database = TaskDatabase.open(where, SPECS, pool=MemoryPool(8 << 20, 8 << 20), options={})
        number = TaskId.parse(task).partition
        hourly = [(window_key(NOON_MS + at * HOUR_MS, b"ann"), at) for at in range(4)]
        changes = {
            "totals": _changes([(b"ann", totals), (b"anna", 2), (b"bob", 3)]),
            "hourly": _changes(hourly, StoreKind.WINDOW),
            "visits": _changes(
                [(session_key(b"ann", NOON_MS, NOON_MS + 60_000), 1)], StoreKind.SESSION
            ),
        }
        database.write(changes, Positions(changelogs={"totals": 10}).encode())
        checkpoint = where.with_name(f"{where.name}-checkpoint")
        database.checkpoint(checkpoint)
        database.close()
        about = About(
            created_ms=NOON_MS + hours * HOUR_MS,
            created_by="w1",
            stores={spec.name: spec.kind.value for spec in SPECS},
            changelog=(Position("spend-totals-changelog", number, 10),),
            input=(Position("purchases", number, 44),),
        )
        shelf = self.place.shelf("spend", TaskId.parse(task), Layout(layout))
        return create(self.place, shelf, Checkpoint(checkpoint), about=about).manifest

    def call(self, *arguments: str, code: int = 0) -> str:
        assert main(list(arguments)) == code, self._capsys.readouterr()
        self.said = self._capsys.readouterr()
        return self.said.out

    def restore(self, *arguments: str, code: int = 0) -> Any:
        where = ("--app", "spend", "--set", f"snapshot_repository={self.address}")
        given = ("snapshot", "restore", *arguments, "--to", str(self.to), *where, "--json")
        text = self.call(*given, code=code)
        return json.loads(text) if text else None

    def inspect(self, *arguments: str, code: int = 0) -> Any:
        text = self.call("inspect", str(self.to), *arguments, "--json", code=code)
        return json.loads(text) if text else None


def _changes(
    given: list[tuple[bytes, int]], kind: StoreKind = StoreKind.KEY_VALUE
) -> list[tuple[bytes, bytes | None]]:
    # Sessions are binary here, the others JSON.
    encode = Int64.encode if kind is StoreKind.SESSION else lambda value: str(value).encode()
    return [(key, row(NOON_MS, encode(value), kind)) for key, value in given]


@pytest.fixture
def past(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Past]:
    made = Past(tmp_path, capsys)
    yield made
    made.place.close()


@pytest.fixture
def then(past: Past) -> Past:
    """Two tasks, restored as of an hour after noon."""
    past.make("0_0", hours=1, totals=70)
    past.make("0_1", hours=1, totals=71)
    past.restore()
    return past


AT = moment(NOON_MS + 3 * HOUR_MS)
WITH_APP = ("--app", f"{__name__}:app")


# -- restore -----------------------------------------------------------------------------------


def test_of_each_task_the_newest_that_is_old_enough_is_restored(past: Past) -> None:
    past.make("0_0", hours=1)
    first = past.make("0_0", hours=2)
    past.make("0_0", hours=4)
    second = past.make("0_1", hours=3)
    found = past.restore("--at", AT)
    assert [(row["task"], row["id"]) for row in found["restored"]] == [
        ("0_0", first.id),
        ("0_1", second.id),
    ]
    assert [row["before_ms"] for row in found["restored"]] == [HOUR_MS, 0]
    assert found["missing"] == []
    assert sorted(path.name for path in past.to.iterdir()) == ["0_0", "0_1"]
    assert past.to.stat().st_mode & 0o77 == 0, "state is nobody else's business"


def test_the_layout_is_the_one_of_that_time(past: Past) -> None:
    former = past.make("0_0", hours=1)
    past.make("0_1", hours=1)
    later = past.make("0_0", hours=4, layout=2)
    assert past.restore("--at", AT)["restored"][0]["id"] == former.id
    past.to = past.home / "later"
    (one,) = past.restore()["restored"]
    assert (one["id"], one["layout"]) == (later.id, 2)


def test_a_task_that_the_layout_of_that_time_had_not_is_refused(past: Past) -> None:
    past.make("0_1", hours=1)
    past.make("0_0", hours=4, layout=2)
    past.restore("--task", "0_1", code=3)
    assert "there was no task 0_1" in past.said.err
    assert "layout 2 held" in past.said.err
    assert past.restore("--task", "0_1", "--at", AT)["restored"][0]["layout"] == 1


def test_nothing_is_fetched_where_one_of_another_time_is_there(past: Past) -> None:
    past.make("0_1", hours=1)
    past.restore()
    first, second = past.make("0_0", hours=2), past.make("0_1", hours=2)
    past.restore(code=3)
    assert [path.name for path in past.to.iterdir()] == ["0_1"]
    past.to = past.home / "two"
    third = past.make("0_1", hours=3)
    past.restore(first.id, second.id, third.id, code=3)
    assert "two snapshots of task 0_1" in past.said.err
    assert not past.to.exists()


def test_a_task_that_has_none_so_old_is_named(past: Past) -> None:
    past.make("0_0", hours=1)
    past.make("0_1", hours=9)
    found = past.restore("--at", AT, code=1)
    assert [row["task"] for row in found["restored"]] == ["0_0"]
    assert found["missing"] == ["0_1"]
    assert f"spend 0_1 has no snapshot that was made by {AT}" in past.said.err
    past.restore("--at", moment(NOON_MS), code=1)


@pytest.mark.slow
def test_a_restore_that_was_broken_off_goes_on(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    made = past.make("0_0", hours=1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(at_rest.os, "rename", killed)
        past.restore(code=130)
    assert [path.name for path in past.to.iterdir()] == ["0_0.partial"]
    past.call("inspect", str(past.to), code=1)
    past.restore()
    assert past.inspect("totals", "bob")[0]["task"] == "0_0"
    # Again: it is there, and nothing moves.
    (again,) = past.restore()["restored"]
    assert again["id"] == made.id


@pytest.mark.slow
def test_another_snapshot_is_not_put_over_one_that_is_there(past: Past) -> None:
    first = past.make("0_0", hours=1, totals=1)
    second = past.make("0_0", hours=2, totals=2)
    past.restore(first.id)
    past.restore(second.id, code=3)
    assert [row["value"] for row in past.inspect("totals", "ann", *WITH_APP)] == [1]
    (past.home / "mine" / "0_0").mkdir(parents=True)
    past.to = past.home / "mine"
    past.restore(second.id, code=3)
    past.restore(second.id, "--at", AT, code=2)
    past.restore("--at", "noon", code=2)


# -- inspect -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_stores_are_listed_with_where_they_stand(then: Past) -> None:
    rows = then.inspect()
    assert [(row["task"], row["store"], row["rows"]) for row in rows[:3]] == [
        ("0_0", "hourly", 4),
        ("0_0", "totals", 3),
        ("0_0", "visits", 1),
    ]
    totals = rows[1]
    assert totals["kind"] == "key-value"
    assert totals["changelog_position"] == 10
    assert totals["input"] == {"purchases/0": 44}
    assert totals["created"] == moment(NOON_MS + HOUR_MS)
    assert "key-value" in then.call("inspect", str(then.to))


@pytest.mark.slow
def test_rows_of_a_key_are_found_in_all_tasks(then: Past) -> None:
    found = then.inspect("totals", "ann", *WITH_APP)
    assert [(row["task"], row["value"]) for row in found] == [("0_0", 70), ("0_1", 71)]
    assert then.inspect("totals", "an", *WITH_APP) == []
    windows = then.inspect("hourly", "ann", "--from", moment(NOON_MS + HOUR_MS), *WITH_APP)
    assert [row["value"] for row in windows[:3]] == [1, 2, 3]
    assert windows[0]["end_ms"] == NOON_MS + 2 * HOUR_MS
    (session, _) = then.inspect("visits", "ann")
    assert (session["start_ms"], session["end_ms"]) == (NOON_MS, NOON_MS + 60_000)


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (("--prefix", "ann"), ["ann", "anna"]),
        (("--range", "anna", "bob"), ["anna"]),
        (("--limit", "1"), ["ann"]),
        (("--limit", "0"), ["ann", "anna", "bob"]),
    ],
)
def test_rows_of_some_keys(past: Past, given: tuple[str, ...], keys: list[str]) -> None:
    past.make("0_0", hours=1)
    past.restore()
    assert [row["key"] for row in past.inspect("totals", *given)] == keys
    assert ("more rows follow" in past.said.err) == (keys == ["ann"])


@pytest.mark.slow
def test_without_the_application_bytes_are_shown_by_their_looks(then: Past) -> None:
    (found, _) = then.inspect("totals", "616e6e", "--key-encoding", "hex", "--limit", "2")
    assert (found["key"], found["value"]) == ("616e6e", 70)
    (found, _) = then.inspect("visits", "ann")
    assert found["value"] == (1).to_bytes(8, "big").hex()
    (found, _) = then.inspect("visits", "ann", "--value-encoding", "base64")
    assert found["value"] == "AAAAAAAAAAE="


def test_a_task_of_a_worker_that_does_not_run_is_looked_at(then: Past) -> None:
    then.to = then.home / "made-1"
    (found,) = then.inspect("totals", "bob", *WITH_APP)
    assert (found["task"], found["value"]) == ("made-1", 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        (("total",), 3, "those that are there: hourly, totals, visits"),
        (("total", *WITH_APP), 1, "did you mean 'totals'?"),
        (("visits", *WITH_APP), 1, "has no store 'visits'"),
        (("totals", "ann", "--prefix", "a"), 2, "leave all but one out"),
        (("hourly", "--from", "noon"), 2, "is not a time"),
    ],
)
def test_what_is_not_there_is_said(then: Past, given: tuple[str, ...], code: int, why: str) -> None:
    then.inspect(*given, code=code)
    assert why in then.said.err


@pytest.mark.parametrize("limit", ["-1", "many"])
def test_a_limit_is_a_number_of_rows(then: Past, limit: str) -> None:
    with pytest.raises(SystemExit) as ended:
        then.call("inspect", str(then.to), "totals", "--limit", limit)
    assert ended.value.code == 2


def test_a_directory_without_state_is_refused(past: Past) -> None:
    past.call("inspect", str(past.home / "nowhere"), code=1)
    (past.home / "empty").mkdir()
    past.call("inspect", str(past.home / "empty"), code=1)
    assert "there is no state in it" in past.said.err
