"""Downloads come from a Maven repository on loopback; what must never happen is a wrong jar."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.errors import SandboxError
from streamer.sandbox import jars

CONTENT = {f"part{n}": bytes([n]) * (100_000 + n) for n in range(8)}


class Repository:
    """Serves one jar per name; `broken` names are served once with other bytes."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.gone: set[str] = set()
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[-3]
                if not self.path.endswith(".jar") or name in outer.gone:
                    self.send_error(404)
                    return
                outer.requests[name] += 1
                body = CONTENT[name]
                if name in outer.broken and outer.requests[name] == 1:
                    body = body[:-1] + b"x"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository()
    config = tmp_path / "jgo.conf"
    config.write_text(f"[repositories]\ncentral = {repository.address}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=repository.server.serve_forever, args=(0.01,))
    thread.start()
    yield repository
    repository.server.shutdown()
    repository.server.server_close()
    thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "test.lock"
    lines = [
        f"org.example:{name}:1.0 {len(body)} {hashlib.sha256(body).hexdigest()}\n"
        for name, body in CONTENT.items()
    ]
    path.write_text("# what the test needs\n" + "".join(lines))
    return path


def test_the_lock_names_one_version_of_every_jar() -> None:
    found = jars.read_lock()

    names = Counter(jar.coordinate.rpartition(":")[0] for jar in found)
    assert set(names.values()) == {1}
    versions = {jar.coordinate.split(":")[2] for jar in found if ":kafka" in jar.coordinate}
    assert versions == {"4.4.0"}
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in found)


@pytest.mark.slow
def test_jars_are_fetched_once(repository: Repository, lock: Path, tmp_path: Path) -> None:
    first = jars.fetch(lock, cache=tmp_path)
    second = jars.fetch(lock, cache=tmp_path)

    assert first == second
    assert [path.read_bytes() for path in first] == list(CONTENT.values())
    assert set(repository.requests.values()) == {1}


def test_what_is_cached_needs_no_network(
    repository: Repository, lock: Path, tmp_path: Path
) -> None:
    jars.fetch(lock, cache=tmp_path)
    repository.gone.update(CONTENT)

    assert len(jars.fetch(lock, cache=tmp_path)) == len(CONTENT)


def test_a_jar_with_other_bytes_is_fetched_again(
    repository: Repository, lock: Path, tmp_path: Path
) -> None:
    repository.broken.add("part3")

    found = jars.fetch(lock, cache=tmp_path)

    assert found[3].read_bytes() == CONTENT["part3"]
    assert repository.requests["part3"] == 2


def test_a_wrong_jar_never_reaches_the_cache(
    repository: Repository, lock: Path, tmp_path: Path
) -> None:
    right = hashlib.sha256(CONTENT["part5"]).hexdigest()
    lock.write_text(lock.read_text().replace(right, "0" * 64))

    with pytest.raises(SandboxError, match=r"org\.example:part5:1\.0: its sha256 is not 000"):
        jars.fetch(lock, cache=tmp_path)

    assert list((tmp_path / "jars").glob("part5*")) == []
    assert list((tmp_path / "jars").glob("download-*")) == []
    assert repository.requests["part5"] == jars.ATTEMPTS


def test_a_short_file_is_not_taken_for_a_jar(
    repository: Repository, lock: Path, tmp_path: Path
) -> None:
    path = jars.fetch(lock, cache=tmp_path)[2]
    path.write_bytes(path.read_bytes()[:5_000])

    jars.fetch(lock, cache=tmp_path)

    assert path.read_bytes() == CONTENT["part2"]


def test_a_missing_jar_is_named_with_the_way_out(
    repository: Repository, lock: Path, tmp_path: Path
) -> None:
    repository.gone.add("part1")

    with pytest.raises(SandboxError, match=r"cannot download org\.example:part1:1\.0") as raised:
        jars.fetch(lock, cache=tmp_path)

    assert "needs network access" in raised.value.hint


def test_what_a_killed_download_left_is_removed(
    repository: Repository, lock: Path, tmp_path: Path
) -> None:
    leftover = tmp_path / "jars" / "download-killed"
    leftover.mkdir(parents=True)
    (leftover / "half.jar").write_bytes(b"half")

    jars.fetch(lock, cache=tmp_path)

    assert not leftover.exists()


@pytest.mark.slow
def test_two_processes_download_once(repository: Repository, lock: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from streamer.sandbox import jars;"
        "print(len(jars.fetch(Path(sys.argv[1]), cache=Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", program, str(lock), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    outputs = [process.communicate(timeout=240)[0].strip() for process in both]

    assert outputs == ["8", "8"]
    assert set(repository.requests.values()) == {1}


def test_a_cache_that_cannot_be_written_is_named(lock: Path, tmp_path: Path) -> None:
    (tmp_path / "jars").write_text("a file where the directory should be")

    with pytest.raises(SandboxError, match="cannot write the cache") as raised:
        jars.fetch(lock, cache=tmp_path)

    assert "XDG_CACHE_HOME" in raised.value.hint


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert jars.cache_directory() == Path("/somewhere/streamer")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/nobody")
    assert jars.cache_directory() == Path("/nobody/.cache/streamer")
