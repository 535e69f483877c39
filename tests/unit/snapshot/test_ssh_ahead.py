"""What lies between an SSH connection and who reads from it changes no byte of it."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import pytest
from paramiko.buffered_pipe import PipeTimeout

from streamer.snapshot.remote.ssh.ahead import AHEAD_BYTES, ReadAhead, gathered
from streamer.snapshot.remote.ssh.inflow import PIECE_BYTES, Inflow


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


def test_what_comes_in_packets_is_handed_over_in_pieces() -> None:
    sent = random.Random(3).randbytes(20 * PIECE_BYTES + 17)
    inflow, packets = Inflow(), random.Random(4)

    def feed() -> None:
        at = 0
        while at < len(sent):
            size = packets.choice([1, 9_000, 32_000])
            inflow.feed(sent[at : at + size])
            at += size
        inflow.close()

    thread = threading.Thread(target=feed)
    thread.start()
    pieces = list(iter(lambda: inflow.read(4 * PIECE_BYTES, 60), b""))
    thread.join()
    assert b"".join(pieces) == sent
    assert max(map(len, pieces)) <= 4 * PIECE_BYTES
    assert inflow.read(10) == b"", "the end stays the end"


def test_less_than_a_piece_comes_after_a_moment_and_nothing_is_a_silence() -> None:
    inflow = Inflow()
    inflow.feed(b"some")
    assert inflow.read_ready()
    assert len(inflow) == 4
    assert inflow.read(3, 60) == b"som", "its host may have no more at the moment"
    assert inflow.read(3, 60) == b"e"
    assert not inflow.read_ready()
    with pytest.raises(PipeTimeout):
        inflow.read(3, 0.01)
    inflow.feed(b"last")
    inflow.close()
    assert inflow.empty() == b"last"
    assert inflow.read(3) == b""


def test_one_who_waits_for_a_piece_is_woken_for_it_alone() -> None:
    inflow = Inflow()
    inflow.feed(b"x")
    woken: list[int] = []
    notify = inflow._is_enough.notify

    def counted(n: int = 1) -> None:
        woken.append(n)
        notify(n)

    inflow._is_enough.notify = counted  # type: ignore[method-assign]
    for _ in range(7):
        inflow.feed(b"y" * (PIECE_BYTES // 8))
    assert woken == []
    inflow.feed(b"z" * (PIECE_BYTES // 8))
    assert woken == [1]
    assert len(inflow.read(2 * PIECE_BYTES, 60)) == PIECE_BYTES + 1
