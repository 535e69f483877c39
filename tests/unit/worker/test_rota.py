"""Where more lies in the topics than can be taken, every task is read in its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.ids import TaskId, TopicPartition
from streamer.worker.rota import Rota
from tests.hurry import examples

PLACES = [TopicPartition("in", number) for number in range(6)]
TASKS = {place: TaskId(0, place.partition) for place in PLACES}
STEP_MS = 10
FULL = 100
ENDLESS = 10**9


def rota_of(places: Iterable[TopicPartition] = PLACES) -> Rota:
    made = Rota()
    for place in places:
        made.add(TASKS[place], [place])
    return made


class Client:
    """Reads the first two partitions that are awake and have something left, and no other, as a
    client does whose queue is full. A partition is told to be at its end once, and again behind
    what came later or after a pause.

    `left` records of each are there, and `live` more come each second. After a change of what is
    awake nothing comes for `bubble` steps. `speed` is how much of a full fetch the brokers give.
    """

    def __init__(
        self,
        left: Mapping[TopicPartition, int],
        *,
        live: Mapping[TopicPartition, int] | None = None,
        bubble: int = 3,
        speed: int = FULL,
    ) -> None:
        self.left = Counter(left)
        self.live = live or {}
        self.rota = rota_of()
        self.now_ms = 0
        self.read: Counter[TopicPartition] = Counter()
        self.read_ms: dict[TopicPartition, int] = {}
        self.gap_ms: Counter[TopicPartition] = Counter()
        self.idle_ms = 0
        self._bubble = bubble
        self._speed = speed
        self._waits = 0
        self._awake: set[TopicPartition] = set()
        self._told: set[TopicPartition] = set()

    def step(self) -> None:
        self.now_ms += STEP_MS
        for place, rate in self.live.items():
            if self.now_ms % (1_000 // rate) == 0:
                self.left[place] += 1
        awake = {place for place in PLACES if TASKS[place] not in self.rota.resting}
        if awake != self._awake:
            # What was fetched is dropped, and the next of it takes a while.
            self._told &= awake & self._awake
            self._awake, self._waits = awake, self._bubble
        read: dict[TopicPartition, int] = {}
        if self._waits:
            self._waits -= 1
        else:
            filled = [place for place in PLACES if place in awake and self.left[place] > 0]
            first, room = filled[:2], self._speed
            if sum(self.left[place] for place in first) < FULL:
                first = filled
            for row, place in enumerate(first, 1):
                read[place] = min(self.left[place], max(room * row // len(first), 1), room)
                room -= read[place]
            # What one of the two does not fill, the other does.
            for place in first:
                more = min(self.left[place] - read[place], room)
                read[place] += more
                room -= more
        read = {place: count for place, count in read.items() if count}
        is_full = sum(read.values()) >= FULL
        self._count(read)
        # Ends are told by fetches that find nothing more, and those are not sent for a full queue.
        ended: set[TopicPartition] = set()
        if not is_full and not self._waits:
            ended = {one for one in awake if not self.left[one]} - (self._told - read.keys())
        self._told = (self._told - read.keys()) | ended
        self.rota.saw(list(read), ended, is_full=is_full, now_ms=self.now_ms)

    def _count(self, read: Mapping[TopicPartition, int]) -> None:
        self.idle_ms += STEP_MS * (FULL - min(sum(read.values()), FULL)) // FULL
        self.left.subtract(read)
        self.read.update(read)
        for place in read:
            gap_ms = self.now_ms - self.read_ms.get(place, 0)
            self.gap_ms[place] = max(self.gap_ms[place], gap_ms)
            self.read_ms[place] = self.now_ms

    def run(self, seconds: float) -> Client:
        for _ in range(int(seconds * 1_000 / STEP_MS)):
            self.step()
        return self


def test_each_is_read_although_the_first_are_never_done() -> None:
    client = Client(dict.fromkeys(PLACES, ENDLESS)).run(120)
    assert set(client.read) == set(PLACES)
    assert max(client.gap_ms.values()) <= 13_000
    assert client.idle_ms <= 120_000 * 0.02


def test_nobody_rests_long_for_those_that_have_nothing() -> None:
    client = Client(dict.fromkeys(PLACES[:2], ENDLESS)).run(120)
    assert client.idle_ms <= 120_000 * 0.04


def test_who_has_little_at_a_time_beside_those_that_are_behind_is_read_every_few_seconds() -> None:
    client = Client(dict.fromkeys(PLACES[:2], ENDLESS), live={PLACES[5]: 20}).run(120)
    assert client.gap_ms[PLACES[5]] <= 15_000
    assert client.idle_ms <= 120_000 * 0.06


@pytest.mark.parametrize("bubble", [3, 40, 150])
def test_who_is_behind_gets_a_turn_however_slowly_brokers_give(bubble: int) -> None:
    """Less than a full fetch each time, and the first of it late."""
    client = Client(dict.fromkeys(PLACES, ENDLESS), bubble=bubble, speed=FULL // 4)
    # One that was full, or nobody would ever rest.
    client.rota.saw(PLACES[:2], (), is_full=True, now_ms=0)
    client.rota.saw(PLACES[:2], (), is_full=True, now_ms=4_000)
    client.now_ms = 4_000
    assert set(client.rota.resting) == {TASKS[PLACES[0]], TASKS[PLACES[1]]}
    client.run(4 - 2 * STEP_MS / 1_000)
    assert set(client.rota.resting) == {TASKS[PLACES[0]], TASKS[PLACES[1]]}
    assert client.read[PLACES[2]] > 0


def test_who_keeps_silent_without_having_been_at_its_end_is_given_up_for_some_time() -> None:
    """Such as a partition whose leader is away."""
    rota = rota_of(PLACES[:2])
    busy = PLACES[0]
    rested_ms = 0
    for now_ms in range(0, 60_000, STEP_MS):
        reads = TASKS[busy] not in rota.resting
        rested_ms += 0 if reads else STEP_MS
        rota.saw([busy] if reads else [], (), is_full=reads, now_ms=now_ms)
    assert rested_ms <= 60_000 * 0.1


def test_a_long_time_between_two_fetches_is_not_taken_for_nothing_left() -> None:
    """User code may take seconds for what one fetch has brought."""
    rota = rota_of(PLACES[:2])
    busy, late = PLACES[:2]
    for now_ms in (0, 5_000):
        rota.saw([busy], (), is_full=True, now_ms=now_ms)
    assert set(rota.resting) == {TASKS[busy]}
    rota.saw([late], (), is_full=False, now_ms=5_010)
    rota.saw([], (), is_full=False, now_ms=8_900)
    assert set(rota.resting) == {TASKS[busy]}


@pytest.mark.parametrize("every", [1, 2, 3, 8])
def test_nobody_rests_where_a_worker_often_finds_all_there_is(every: int) -> None:
    rota = rota_of()
    for row, now_ms in enumerate(range(0, 20_000, STEP_MS)):
        rota.saw([PLACES[0]], (), is_full=bool(row % every), now_ms=now_ms)
        assert not rota.resting


def test_turns_go_on_where_a_fetch_now_and_then_is_not_full() -> None:
    """The process was held up in the middle of one."""
    rota = rota_of()
    rested = set()
    for row, now_ms in enumerate(range(0, 20_000, STEP_MS)):
        first = next(place for place in PLACES if TASKS[place] not in rota.resting)
        rota.saw([first], (), is_full=row % 20 != 0, now_ms=now_ms)
        rested |= set(rota.resting)
    assert len(rested) == 4


def test_of_tasks_that_are_gone_none_rests_and_after_a_reset_none_at_all() -> None:
    rota = rota_of()
    for now_ms in (0, 5_000):
        rota.saw(PLACES[:2], (), is_full=True, now_ms=now_ms)
    assert set(rota.resting) == {TASKS[one] for one in PLACES[:2]}
    rota.remove([PLACES[0]])
    rota.saw([PLACES[3]], (), is_full=True, now_ms=5_010)
    assert set(rota.resting) == {TASKS[PLACES[1]]}
    rota.reset()
    assert not rota.resting


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(st.integers(0, 60_000), min_size=len(PLACES), max_size=len(PLACES)),
    st.integers(0, 9),
    st.dictionaries(st.sampled_from(PLACES), st.sampled_from([1, 10, 100])),
)
def test_all_is_read_whoever_has_how_much(
    left: list[int], bubble: int, live: dict[TopicPartition, int]
) -> None:
    client = Client(dict(zip(PLACES, left, strict=True)), bubble=bubble, live=live)
    needed_ms = sum(left) // FULL * STEP_MS
    while client.now_ms < needed_ms * 2 + 30_000 and sum(client.left.values()) > FULL:
        client.step()
    assert sum(client.left.values()) <= FULL
    # While much is left, little time is lost: turns that change, and looks at who has nothing.
    assert client.idle_ms <= needed_ms * 0.15 + 3_000
