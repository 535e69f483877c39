"""Nothing is written while fences come through; and nobody is held up by one that does not."""

from __future__ import annotations

from streamer.cluster.hold import HOLD_MS, HOLD_MS_MAX, Hold


def test_it_is_on_while_fences_come_through_one_by_one() -> None:
    hold = Hold()
    hold.look(0, is_news=True, now_ms=0)
    assert (hold.is_on, hold.release(), hold.release()) == (False, True, False)
    for pending in (3, 2, 1):
        hold.look(pending, is_news=pending == 2, now_ms=(4 - pending) * (HOLD_MS - 1))
        assert hold.is_on
    hold.look(0, is_news=False, now_ms=3 * HOLD_MS)
    assert (hold.is_on, hold.release()) == (False, True)


def test_a_fence_that_takes_long_holds_nobody_up() -> None:
    hold = Hold()
    hold.look(1, is_news=True, now_ms=0)
    hold.look(1, is_news=False, now_ms=HOLD_MS)
    assert not hold.is_on
    # Others die and are fenced meanwhile: what moves does not hold for ever either.
    seen = []
    for turn in range(2, 12):
        hold.look(2 - turn % 2, is_news=False, now_ms=turn * (HOLD_MS // 2))
        seen.append(hold.is_on)
    assert seen == [turn * (HOLD_MS // 2) < HOLD_MS_MAX for turn in range(2, 12)]
