"""What lies between an SSH connection and who reads from it changes no byte of it."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import pytest

from streamer.snapshot.remote.ssh.ahead import AHEAD_BYTES, ReadAhead, gathered


def test_what_was_sent_comes_in_pieces_of_any_size() -> None:
    sent = random.Random(1).randbytes(3 * AHEAD_BYTES + 17)
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            theirs.sendall(sent)

    thread = threading.Thread(target=send)
    thread.start()
    sizes = random.Random(2)
    with ours:
        ahead = ReadAhead(ours)
        found = b""
        while chunk := ahead.recv(asked := sizes.choice([1, 16, 32_000, 2 * AHEAD_BYTES])):
            assert len(chunk) <= asked
            found += chunk
        assert ahead.recv(16) == b"", "the end stays the end"
        assert ahead.fileno() == ours.fileno()
    thread.join()
    assert found == sent


def test_a_silence_is_one_and_what_came_before_it_is_given_first() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ahead = ReadAhead(ours)
        ahead.settimeout(0.01)
        theirs.sendall(b"head and body")
        assert [ahead.recv(5), ahead.recv(100)] == [b"head ", b"and body"]
        with pytest.raises(TimeoutError):
            ahead.recv(1)
        theirs.sendall(b"more")
        assert ahead.recv(4) == b"more"


def test_chunks_are_gathered_and_none_is_lost_before_an_error() -> None:
    assert list(gathered(iter([b"ab", b"c", b"d"]), 3)) == [b"abc", b"d"]
    assert list(gathered(iter([]), 3)) == []

    def broken() -> Iterator[bytes]:
        yield from (b"ab", b"cd", b"e")
        raise EOFError("cut off")

    found: list[bytes] = []
    with pytest.raises(EOFError):  # noqa: PT012
        for chunk in gathered(broken(), 3):
            found.append(chunk)
    assert found == [b"abcd", b"e"]
