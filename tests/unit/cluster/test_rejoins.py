from __future__ import annotations

from streamer.cluster.rejoins import REJOINS_MAX, Rejoins


def test_so_many_within_a_minute_are_a_loop() -> None:
    rejoins = Rejoins()
    assert [rejoins.is_loop(number * 1_000) for number in range(REJOINS_MAX)] == [
        *[False] * (REJOINS_MAX - 1),
        True,
    ]


def test_now_and_then_is_no_loop() -> None:
    rejoins = Rejoins()
    assert not any(rejoins.is_loop(number * 20_000) for number in range(20))
