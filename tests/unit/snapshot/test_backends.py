"""What every backend must do: one suite against a directory, a real S3 server and a real sshd."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamer.errors import InvariantError, SnapshotDamagedError, SnapshotMissingError
from streamer.snapshot.remote.api import Backend, of_bytes
from tests.unit.snapshot.places import BUILD_S, Place

pytestmark = pytest.mark.timeout(BUILD_S)

MIB = 1024 * 1024
# S3 has neither modes nor links, and its broken uploads have a test of their own.
on_files = pytest.mark.parametrize("place", ["file", "ssh", "sftp"], indirect=True)


def put(backend: Backend, key: str, content: bytes) -> bool:
    return backend.put(key, of_bytes(content), size=len(content))


def get(backend: Backend, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join(backend.read(key, start=start, length=length))


def keys(backend: Backend, prefix: str = "") -> list[str]:
    return sorted(stored.key for stored in backend.list(prefix))


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 300_000, 3 * MIB + 17, 40 * MIB + 1])
def test_what_was_put_is_read(backend: Backend, size: int) -> None:
    content = os.urandom(size)
    chunks = [content[at : at + 700_001] for at in range(0, size, 700_001)]

    assert backend.put("a/b/c", lambda: chunks, size=size)

    assert get(backend, "a/b/c") == content
    found = backend.stat("a/b/c")
    assert found is not None
    assert (found.key, found.size) == ("a/b/c", size)


def test_the_first_put_of_a_key_wins(backend: Backend) -> None:
    assert put(backend, "key", b"first")
    assert not put(backend, "key", b"the second, which is longer")
    assert get(backend, "key") == b"first"


def test_a_large_object_is_not_replaced_either(backend: Backend) -> None:
    large = b"x" * (33 * MIB)
    assert put(backend, "key", b"first")
    assert not put(backend, "key", large)
    assert get(backend, "key") == b"first"
    assert [*backend.unfinished()] == []


def test_of_many_writers_one_is_first(place: Place) -> None:
    backends = [place.open() for _ in range(4)]
    start = threading.Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        return put(backends[number % 4], "race", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))

    assert won.count(True) == 1
    assert get(backends[0], "race") == b"%d" % won.index(True)


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_a_range_is_read(backend: Backend, size: int) -> None:
    content = os.urandom(size)
    put(backend, "key", content)

    assert get(backend, "key", 7) == content[7:]
    assert get(backend, "key", 7, 20) == content[7:27]
    assert get(backend, "key", size - 5, 100) == content[-5:]
    assert get(backend, "key", size) == b""
    assert get(backend, "key", size + 10) == b""
    assert get(backend, "key", 3, 0) == b""


def test_a_read_may_be_left_in_the_middle(backend: Backend) -> None:
    put(backend, "key", b"x" * (4 * MIB))
    for _ in range(20):
        chunks = backend.read("key")
        next(chunks)
        del chunks
    assert len(get(backend, "key")) == 4 * MIB


def test_what_is_not_there_is_said_so(backend: Backend) -> None:
    assert backend.stat("a/none") is None
    with pytest.raises(SnapshotMissingError, match="a/none"):
        get(backend, "a/none")
    put(backend, "a/b", b"")
    with pytest.raises(SnapshotMissingError):
        get(backend, "a/b/c")
    assert backend.stat("a/b/c") is None


def test_listing_finds_all_below_a_prefix(backend: Backend) -> None:
    assert keys(backend) == []
    assert keys(backend, "a/") == []
    for key in ("a/1", "a/b/2", "ab/3", "c"):
        put(backend, key, key.encode())

    assert keys(backend) == ["a/1", "a/b/2", "ab/3", "c"]
    assert keys(backend, "a/") == ["a/1", "a/b/2"]
    assert {found.key: found.size for found in backend.list("a/b/")} == {"a/b/2": 5}


def test_more_than_a_page_is_listed(place: Place, backend: Backend) -> None:
    put(backend, "many/first", b"x")
    for number in range(1_100):
        (place.file("many") / f"n{number}").write_bytes(b"x")
    assert len(keys(backend, "many/")) == 1_101


def test_a_delete_may_be_repeated(backend: Backend) -> None:
    put(backend, "a/key", b"x")
    backend.delete("a/key")
    backend.delete("a/key")
    backend.delete("never/there")
    assert backend.stat("a/key") is None
    assert put(backend, "a/key", b"y"), "the name is free"


def test_times_are_of_one_clock(backend: Backend) -> None:
    put(backend, "a", b"1")
    put(backend, "b", b"2")
    first, second = backend.stat("a"), backend.stat("b")
    assert first is not None
    assert second is not None
    assert 0 <= second.modified_ms - first.modified_ms < 60_000
    assert {found.modified_ms for found in backend.list("")} == {
        first.modified_ms,
        second.modified_ms,
    }


@pytest.mark.parametrize("size", [1000, 400_000, 40 * MIB])
def test_content_that_breaks_off_leaves_nothing(backend: Backend, size: int) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"x" * (size - 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        backend.put("a/key", breaking, size=size)

    assert keys(backend) == []
    assert [*backend.unfinished()] == []
    assert put(backend, "a/key", b"x")


@on_files
def test_what_a_killed_put_left_is_told_and_can_be_removed(place: Place, backend: Backend) -> None:
    put(backend, "a/key", b"x")
    (place.root / ".partial" / ("0" * 32)).write_bytes(b"half")
    assert [(found.key, found.size) for found in backend.unfinished()] == [("0" * 32, 4)]
    assert keys(backend) == ["a/key"]
    backend.discard("0" * 32)
    backend.discard("0" * 32)
    assert [*backend.unfinished()] == []


@pytest.mark.parametrize(("size", "said"), [(999, "has more"), (1001, "has 1000")])
def test_content_of_another_size_is_refused(backend: Backend, size: int, said: str) -> None:
    with pytest.raises(SnapshotDamagedError, match=said):
        backend.put("key", of_bytes(b"x" * 1000), size=size)
    assert keys(backend) == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "a\n", "ä", "a" * 901, "-x"]
)
def test_a_key_is_a_path_of_plain_names(backend: Backend, key: str) -> None:
    for call in (backend.stat, backend.delete, lambda key: put(backend, key, b"")):
        with pytest.raises(InvariantError):
            call(key)
    with pytest.raises(InvariantError):
        get(backend, key)


@on_files
def test_files_belong_to_their_user_alone(place: Place, backend: Backend) -> None:
    for key, size in (("a/small", 10), ("a/large", 2 * MIB)):
        put(backend, key, b"x" * size)
        assert place.file(key).stat().st_mode & 0o777 == 0o600
    assert place.root.stat().st_mode & 0o777 == 0o700
    assert place.file("a").stat().st_mode & 0o777 == 0o700


@on_files
def test_a_link_is_not_followed(place: Place, backend: Backend) -> None:
    put(backend, "a/key", b"x")
    secret = place.root.parent / "secret"
    secret.write_bytes(b"secret")
    place.file("a/link").symlink_to(secret)

    with pytest.raises(Exception, match=r"link|regular|symbolic"):
        get(backend, "a/link")
    assert keys(backend) == ["a/key"]
    assert not put(backend, "a/link", b"y")
    assert secret.read_bytes() == b"secret"
