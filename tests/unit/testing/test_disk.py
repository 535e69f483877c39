from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from streamer.errors import StateDirectoryError
from streamer.testing import disk
from streamer.testing.disk import copy_at_rest


@pytest.mark.slow
def test_a_copy_in_which_something_changed_is_made_again(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "0_0").mkdir(parents=True)
    (source / "0_0" / "-1.sst").write_bytes(b"x")
    (source / "0_0" / "MANIFEST").write_text("-1.sst\n")
    stop = threading.Event()

    def work() -> None:
        # As RocksDB does: a list grows, and its last line names the one file that is there.
        for number in range(300):
            (source / "0_0" / f"{number}.sst").write_bytes(b"x")
            with (source / "0_0" / "MANIFEST").open("a") as manifest:
                manifest.write(f"{number}.sst\n")
            (source / "0_0" / f"{number - 1}.sst").unlink(missing_ok=True)
            time.sleep(0.0005)
        stop.set()

    worker = threading.Thread(target=work)
    worker.start()
    copies = 0
    while not stop.is_set():
        copy_at_rest(source, target / str(copies))
        copy = target / str(copies) / "0_0"
        assert (copy / (copy / "MANIFEST").read_text().split()[-1]).is_file()
        copies += 1
    worker.join()
    copy_at_rest(source, target / "last")
    assert sorted(path.name for path in (target / "last" / "0_0").iterdir()) == [
        "299.sst",
        "MANIFEST",
    ]


def test_what_never_rests_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    sizes = iter(range(10**6))
    monkeypatch.setattr(disk, "_WAIT_S", 0.05)
    monkeypatch.setattr(disk, "_files", lambda _directory: {Path("a"): (next(sizes), 0)})
    with pytest.raises(StateDirectoryError, match="did not come to rest"):
        copy_at_rest(tmp_path / "source", tmp_path / "target")
    assert not (tmp_path / "target").exists()
