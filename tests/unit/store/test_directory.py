from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.errors import StateDirectoryError
from streamer.ids import Layout, TaskId
from streamer.store.directory import WorkerDirectory

HOLD = """
import sys
from pathlib import Path
from streamer.store.directory import WorkerDirectory
held = WorkerDirectory.open(Path(sys.argv[1]), "app", slot=0)
print(held.worker_id, flush=True)
sys.stdin.read()
"""


def hold(state_dir: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that holds slot 0, and its worker id."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_worker_id_is_made_once_and_kept(tmp_path: Path) -> None:
    with WorkerDirectory.open(tmp_path, "app") as first:
        worker_id = first.worker_id
    with WorkerDirectory.open(tmp_path, "app") as second:
        assert second.worker_id == worker_id
        assert second.path == tmp_path / "app" / "worker-0"


def test_a_given_worker_id_is_kept_and_finds_its_slot_again(tmp_path: Path) -> None:
    with WorkerDirectory.open(tmp_path, "app") as other:
        with WorkerDirectory.open(tmp_path, "app", worker_id="west-1") as own:
            assert own.path.name == "worker-1"
        assert other.worker_id != "west-1"
    with WorkerDirectory.open(tmp_path, "app", worker_id="west-1") as again:
        assert (again.worker_id, again.path.name) == ("west-1", "worker-1")


def test_another_worker_id_in_a_slot_is_refused_with_both(tmp_path: Path) -> None:
    WorkerDirectory.open(tmp_path, "app", worker_id="west-1", slot=0).close()
    with pytest.raises(StateDirectoryError, match=r"belongs to worker 'west-1', not to 'west-2'"):
        WorkerDirectory.open(tmp_path, "app", worker_id="west-2", slot=0)
    with WorkerDirectory.open(tmp_path, "app", slot=0) as free_again:
        assert free_again.worker_id == "west-1"


def test_two_processes_never_share_a_directory(tmp_path: Path) -> None:
    process, worker_id = hold(tmp_path)
    try:
        with pytest.raises(StateDirectoryError, match=rf"in use by process {process.pid} on "):
            WorkerDirectory.open(tmp_path, "app", slot=0)
        with pytest.raises(StateDirectoryError, match=rf"in use by process {process.pid} on "):
            WorkerDirectory.open(tmp_path, "app", worker_id=worker_id)
        with WorkerDirectory.open(tmp_path, "app") as other:
            assert other.path.name == "worker-1"
            assert other.worker_id != worker_id
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(40)
    with WorkerDirectory.open(tmp_path, "app", slot=0) as taken_over:
        assert taken_over.worker_id == worker_id


def test_a_child_process_does_not_hold_the_slot(tmp_path: Path) -> None:
    directory = WorkerDirectory.open(tmp_path, "app", slot=0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        directory.close()
        WorkerDirectory.open(tmp_path, "app", slot=0).close()
    finally:
        child.kill()
        child.wait(40)


def test_another_applications_state_is_refused_with_both_names(tmp_path: Path) -> None:
    WorkerDirectory.open(tmp_path, "orders").close()
    os.rename(tmp_path / "orders", tmp_path / "payments")
    with pytest.raises(StateDirectoryError, match="application 'orders', not to 'payments'"):
        WorkerDirectory.open(tmp_path, "payments")


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_format_is_refused_with_both_versions(tmp_path: Path, version: object) -> None:
    with WorkerDirectory.open(tmp_path, "app") as directory:
        file = directory.path / "streamer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": version}))
    with pytest.raises(StateDirectoryError, match=rf"has format {version}, .* uses format 1"):
        WorkerDirectory.open(tmp_path, "app")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "colour": "red"}'])
def test_an_unreadable_identity_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    with WorkerDirectory.open(tmp_path, "app") as directory:
        file = directory.path / "streamer.json"
    file.write_text(text)
    with pytest.raises(StateDirectoryError, match="not readable as an identity file"):
        WorkerDirectory.open(tmp_path, "app")
    assert file.read_text() == text


def test_a_place_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("")
    with pytest.raises(StateDirectoryError, match="cannot be used: Not a directory"):
        WorkerDirectory.open(tmp_path, "app")


def test_a_stored_sample_of_format_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "app" / "worker-0"
    path.mkdir(parents=True)
    (path / "streamer.json").write_text(
        '{"application_id": "app", "worker_id": "w-1f", "format": 1, "created_ms": 1700000000000}'
    )
    with WorkerDirectory.open(tmp_path, "app") as directory:
        assert directory.worker_id == "w-1f"
        assert directory.identity.created_ms == 1_700_000_000_000


def test_tasks_are_listed_by_layout_and_number(tmp_path: Path) -> None:
    with WorkerDirectory.open(tmp_path, "app") as directory:
        made = [(TaskId(0, 10), 1), (TaskId(0, 9), 1), (TaskId(1, 0), 2)]
        for task, layout in made:
            path = directory.task(task, Layout(layout))
            path.mkdir(parents=True)
            (path / "CURRENT").touch()
        (directory.path / "tasks" / "0_11").mkdir()
        (directory.path / "tasks" / "0_9.old").mkdir()
        assert directory.task(TaskId(0, 9)).name == "0_9"
        assert directory.task(TaskId(1, 0), Layout(2)).name == "1_0.layout-2"
        assert [(one.task, one.layout) for one in directory.tasks()] == [
            (TaskId(0, 9), 1),
            (TaskId(0, 10), 1),
            (TaskId(1, 0), 2),
        ]


def test_what_is_put_aside_is_kept_and_no_task_any_more(tmp_path: Path) -> None:
    with WorkerDirectory.open(tmp_path, "app") as directory:
        path = directory.task(TaskId(0, 3))
        path.mkdir(parents=True)
        (path / "CURRENT").write_text("it")
        aside = directory.put_aside(TaskId(0, 3), 1_700_000_000_000)
        assert aside == path.with_name("0_3.old-1700000000000")
        assert (aside / "CURRENT").read_text() == "it"
        assert not path.exists()
        assert directory.tasks() == []
        with pytest.raises(StateDirectoryError, match=r"cannot be renamed to 0_3\.old-5"):
            directory.put_aside(TaskId(0, 3), 5)
