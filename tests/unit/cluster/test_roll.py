"""Who is alive: by their words, and of the silent ones by their sessions."""

from __future__ import annotations

from streamer.cluster.roll import AGAIN_MS, JOINING_MS, Roll
from streamer.control.messages import StatusRecord

ONE, TWO = ("w1", "s1"), ("w2", "s2")
SUSPICION_MS = 6_000
NOBODY = frozenset[tuple[str, str]]()


def word(name: str, number: int = 1, *, left: bool = False, at_ms: int = 0) -> StatusRecord:
    worker, session = name.split("#")
    return StatusRecord(
        format=1,
        number=number,
        worker=worker,
        incarnation=f"{session}.0",
        left=left,
        at_ms=at_ms,
    )


def roll(*words: StatusRecord, wall_ms: int = 0) -> Roll:
    made = Roll(suspicion_ms=SUSPICION_MS)
    made.load(words, now_ms=0, wall_ms=wall_ms)
    return made


def heard(*words: StatusRecord, now_ms: int = 0) -> Roll:
    """A roll on which those stand who say this: Kafka has their sessions."""
    made = roll()
    made.hear(words, now_ms=now_ms)
    joining = made.suspects(now_ms)
    made.judge(joining, joining, now_ms=now_ms)
    return made


def test_who_speaks_for_the_first_time_is_on_the_roll_once_kafka_has_its_session() -> None:
    made = roll()
    made.hear([word("w1#s1")], now_ms=100)
    assert made.sessions == NOBODY
    assert made.suspects(100) == {ONE}
    made.judge({ONE}, NOBODY, now_ms=100)
    assert made.suspects(100 + JOINING_MS - 1) == NOBODY
    made.judge(made.suspects(100 + JOINING_MS), {ONE}, now_ms=100 + JOINING_MS)
    assert made.sessions == {ONE}
    assert made.suspects(100 + SUSPICION_MS - 1) == NOBODY


def test_words_of_nobody_are_forgotten_when_they_cease() -> None:
    made = roll()
    made.hear([word("guest#s1")], now_ms=0)
    asked = 0
    for now_ms in range(0, 2 * SUSPICION_MS, 50):
        suspects = made.suspects(now_ms)
        asked += len(suspects)
        made.judge(suspects, NOBODY, now_ms=now_ms)
        assert made.sessions == NOBODY
    assert asked == SUSPICION_MS // JOINING_MS + 1


def test_who_is_silent_is_a_suspect_and_struck_if_its_session_has_ended() -> None:
    made = heard(word("w1#s1"), word("w2#s2"), now_ms=100)
    assert made.suspects(100 + SUSPICION_MS - 1) == NOBODY
    suspects = made.suspects(100 + SUSPICION_MS)
    assert suspects == {ONE, TWO}
    made.judge(suspects, {TWO}, now_ms=100 + SUSPICION_MS)
    assert made.sessions == {TWO}


def test_one_whose_session_is_kept_is_asked_for_again_and_again() -> None:
    made = heard(word("w1#s1"))
    for turn in range(5):
        now_ms = SUSPICION_MS + turn * AGAIN_MS
        assert made.suspects(now_ms - 1) == NOBODY
        made.judge(made.suspects(now_ms), {ONE}, now_ms=now_ms)
        assert made.sessions == {ONE}
    made.judge({ONE}, NOBODY, now_ms=now_ms + AGAIN_MS)
    assert made.sessions == NOBODY


def test_one_that_was_heard_during_the_question_is_not_struck() -> None:
    made = heard(word("w1#s1", 1))
    asked = made.suspects(SUSPICION_MS)
    made.hear([word("w1#s1", 2)], now_ms=SUSPICION_MS)
    made.judge(asked, NOBODY, now_ms=SUSPICION_MS)
    assert made.sessions == {ONE}


def test_every_word_counts_and_a_repeated_one_does_not() -> None:
    made = heard(word("w1#s1", 1))
    made.hear([word("w1#s1", 2)], now_ms=4_000)
    made.hear([word("w1#s1", 2), word("w1#s1", 1)], now_ms=9_000)
    assert made.suspects(9_999) == NOBODY
    assert made.suspects(10_000) == {ONE}


def test_good_bye_is_heard_at_once() -> None:
    made = heard(word("w1#s1", 1))
    made.hear([word("w1#s1", 2, left=True)], now_ms=0)
    assert made.sessions == NOBODY


def test_whoever_comes_back_is_alive_again() -> None:
    made = heard(word("w1#s1", 7))
    made.judge({ONE}, NOBODY, now_ms=SUSPICION_MS)
    assert made.sessions == NOBODY
    made.hear([word("w1#s1", 8)], now_ms=SUSPICION_MS + 10)
    made.judge({ONE}, {ONE}, now_ms=SUSPICION_MS + 10)
    assert made.sessions == {ONE}


def test_of_words_that_were_there_before_their_age_tells_when_to_ask() -> None:
    made = roll(
        word("w1#s1", at_ms=99_000),
        word("w2#s2", at_ms=1_000),
        word("w3#s3", at_ms=100_000, left=True),
        word("w4#s4", at_ms=100_000),
    )
    assert made.sessions == {ONE, TWO, ("w4", "s4")}
    assert made.suspects(0) == {TWO}
    assert made.suspects(SUSPICION_MS - 1_000) == {ONE, TWO}
    assert made.suspects(SUSPICION_MS) == {ONE, TWO, ("w4", "s4")}


def test_a_word_also_ages_while_nobody_speaks() -> None:
    """As of the former controller, when the only other worker spoke last some seconds ago."""
    made = roll(word("w1#s1", at_ms=100_000), word("w2#s2", at_ms=103_900), wall_ms=106_000)
    assert made.suspects(0) == {ONE}
    assert made.suspects(SUSPICION_MS - 2_100) == {ONE, TWO}


def test_a_clock_that_is_wrong_makes_suspects_and_strikes_nobody() -> None:
    made = roll(word("w1#s1", at_ms=1_000), word("w2#s2", at_ms=1_000 + 3_600_000))
    assert made.suspects(0) == {ONE}
    made.judge({ONE}, {ONE}, now_ms=0)
    assert made.sessions == {ONE, TWO}
