"""How far another application has come with the topics that both read: nobody who follows it goes
further.

A thread asks for the other one's committed positions. So what is processed between two answers is
what the other one had processed between two of its commits, and never more than it has committed.
While it is far behind it commits rarely, since what a key had in between is nobody's business.
It asks as well whether there is anything to follow any more, and stops the worker where not; and
how far the other one is behind its input: while that is much, who follows leaves the brokers to it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import InvariantError, KafkaUnavailableError, StoppedError, StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.positions import PositionsReader
from streamer.record import Headers
from streamer.topology.interval import Interval
from streamer.topology.partitions import Partitions

__all__ = ["Brake", "Followed", "Lead", "following", "intervals"]

Ask = Callable[[], Mapping[TopicPartition, int]]

_log = logging.getLogger(__name__)

_LOOK_S = 0.25
_ASK_S = 30.0
_OVER_S = 2.0
_BRAKE_LOOKS = 4
# Near its lead nobody brakes: in a pause that one falls behind, and is waited for.
_NEAR = 100_000
_FAR_COMMIT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Lead:
    """The group that is followed, and whether that `is_over` for good. Asked by one thread at a
    time. Results carry the `stamp` behind their headers. With an `interval` only its windows are
    computed, and what lies behind the positions of `until` is left for later."""

    group: str
    is_over: Callable[[], bool]
    stamp: Headers = field(default_factory=list)
    interval: Interval | None = None
    until: Mapping[TopicPartition, int] | None = None


class Brake:
    """Whether who follows is to stand still: while the live group is more than `lag_max` offsets
    behind the `ends` of its input, until it is half of that; and far ahead of who follows, who has
    committed `own` positions. 0 is never."""

    def __init__(self, ends: Ask, own: Ask, *, lag_max: int) -> None:
        self._ends = ends
        self._own = own
        self._lag_max = lag_max
        self.is_on = False
        self.is_far = False
        """Whether who follows has yet far to go."""

    def look(self, live: Mapping[TopicPartition, int]) -> None:
        self.is_far = _behind(self._own(), live) > _NEAR
        if not self._lag_max:
            return
        lag = _behind(live, self._ends())
        most = self._lag_max // 2 if self.is_on else self._lag_max
        is_on = lag > most and self.is_far
        if is_on != self.is_on:
            _log.warning(
                "the live application is %s offsets behind its input: what is read again %s",
                f"{lag:,}",
                "stands still" if is_on else "goes on",
            )
        self.is_on = is_on


def _behind(at: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
    return sum(max(end - at.get(place, 0), 0) for place, end in ends.items())


class Followed(Closable):
    """`committed` asks for positions, of those partitions that have some; nobody goes further than
    `until`, where that is given. `ended` is told once it `is_over`. `closing` is set by `close`,
    and ends what it asks."""

    def __init__(
        self,
        committed: Ask,
        places: Iterable[TopicPartition],
        *,
        brake: Brake | None = None,
        until: Mapping[TopicPartition, int] | None = None,
        closing: threading.Event | None = None,
        is_over: Callable[[], bool] = lambda: False,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self._ask = committed
        self._brake = brake
        self._is_over = is_over
        self._ended = ended
        self._nothing: Mapping[TopicPartition, int] = dict.fromkeys(places, 0)
        self._live = self._limits = self._nothing
        self._until = until
        self._closing = closing or threading.Event()
        self.failure: StreamerError | None = None
        # Whether it is over may take seconds to be told, and limits do not wait for that.
        self._threads = [
            threading.Thread(target=each, name=f"followed{each.__name__}", daemon=True)
            for each in (self._run, self._watch)
        ]

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def limits(self) -> Mapping[TopicPartition, int]:
        """The position behind the last record that may be processed, by partition: 0 where the
        other one has committed none, and everywhere while it brakes. Raises what asking has failed
        with."""
        if self.failure is not None:
            raise self.failure
        return self._nothing if self._brake and self._brake.is_on else self._limits

    def commit_ms(self, usual_ms: int, timeout_ms: int) -> int:
        """How long to collect for a transaction that is aborted after `timeout_ms`."""
        is_far = self._brake is not None and self._brake.is_far
        return max(usual_ms, min(_FAR_COMMIT_MS, timeout_ms // 4)) if is_far else usual_ms

    def look(self) -> None:
        """Ask once."""
        found = self._ask()
        # A position that was set back by hand takes nothing back here.
        self._live = {place: max(at, found.get(place, 0)) for place, at in self._live.items()}
        self._limits = self._live
        if self._until is not None:
            self._limits = {p: min(at, self._until.get(p, 0)) for p, at in self._live.items()}

    def close(self) -> None:
        self._closing.set()
        for each in self._threads:
            if each.is_alive():
                each.join()

    def _run(self) -> None:
        looks = 0
        while not self._closing.is_set():
            looks += 1
            try:
                self.look()
                if self._brake and (self._brake.is_far or looks % _BRAKE_LOOKS == 0):
                    # Where the other one is, wherever who follows is to stop.
                    self._brake.look(self._live)
            except StoppedError:
                return
            except KafkaUnavailableError as error:
                _log.warning("how far the other application is is not known at present: %s", error)
            except StreamerError as error:
                self.failure = error
                return
            except Exception as error:
                self.failure = InvariantError(f"looking at the other application: {error!r}")
                _log.exception("looking at the other application has failed")
                return
            is_far = self._brake is not None and self._brake.is_far
            self._closing.wait(_BRAKE_LOOKS * _LOOK_S if is_far else _LOOK_S)

    def _watch(self) -> None:
        while not self._closing.wait(_OVER_S):
            try:
                if self._is_over():
                    self._ended()
                    return
            except Exception:
                # It is asked again: nothing else would tell that nobody is needed any more.
                _log.exception("whether it is over is not known at present")


def intervals(config: Config, followed: Followed | None) -> Callable[[], int]:
    """Between the commits of a worker, in ms."""
    usual_ms, timeout_ms = config.commit_ms, config.transaction_timeout_ms
    return lambda: usual_ms if followed is None else followed.commit_ms(usual_ms, timeout_ms)


def following(
    config: Config,
    planned: Partitions,
    lead: Lead | None,
    *,
    stopping: threading.Event,
    closing: ExitStack,
) -> Followed | None:
    """Looks how far the group has come with the topics of others, for as long as `closing` is open;
    None without a lead. `stopping` is set where it is over."""
    if lead is None:
        return None
    places = [
        TopicPartition(topic, number)
        for topic, width in planned.sources.items()
        if topic not in planned.repartition
        for number in range(width)
    ]

    # As they were before transactions that are open: those are committed for certain.
    closes = threading.Event()
    live = PositionsReader(config, lead.group, stopping=closes)
    own = PositionsReader(config, config.application_id, stopping=closes)

    def known(of: PositionsReader) -> dict[TopicPartition, int]:
        found = of.committed(places, timeout_s=_ASK_S)
        return {place: one.position for place, one in found.items()}

    admin = Admin(config, timeout_s=_ASK_S, stopping=closes)
    brake = Brake(lambda: admin.ends(places), lambda: known(own), lag_max=config.replay_lag_max)
    one = Followed(
        lambda: known(live),
        places,
        brake=brake,
        until=lead.until,
        closing=closes,
        is_over=lead.is_over,
        ended=stopping.set,
    )
    for each in (live, own, one):
        # The thread that uses them ends first.
        closing.callback(each.close)
    one.start()
    return one
