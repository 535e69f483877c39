"""What workers have left on a disk of an application that is gone for good."""

from __future__ import annotations

from pathlib import Path

from streamer.store.directory import WorkerDirectory
from streamer.store.removal import remove_state


def test_it_is_removed_but_for_what_is_in_use_and_what_is_of_others(tmp_path: Path) -> None:
    for name in ("gone", "other"):
        for slot in range(2):
            with WorkerDirectory.open(tmp_path, name, worker_id=f"w{slot}", slot=slot) as own:
                (own.path / "tasks" / "0_0").mkdir(parents=True)
    with WorkerDirectory.open(tmp_path, "gone", slot=0) as used:
        assert remove_state(tmp_path, "gone") == ["w1"]
        assert (used.path / "tasks" / "0_0").is_dir()
    (tmp_path / "gone" / "worker-1.bak").mkdir()
    assert remove_state(tmp_path, "gone") == ["w0"]
    assert [path.name for path in (tmp_path / "gone").iterdir()] == ["worker-1.bak"]
    (tmp_path / "gone" / "worker-1.bak").rmdir()
    assert remove_state(tmp_path, "gone") == []
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert len(list((tmp_path / "other").iterdir())) == 2
    assert remove_state(tmp_path, "never") == []
