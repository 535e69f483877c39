"""The session's Kafka, which hundreds of scenarios use one after the other."""

from __future__ import annotations

from streamer.sandbox import Sandbox

__all__ = ["CLEANER_PAUSE", "session_broker"]

# A sandbox looks every second for what to compact, at each partition that was ever written to.
# Scenarios leave thousands of them: that alone took a fifth of a core at 1,200, and grew.
CLEANER_PAUSE = "log.cleaner.backoff.ms"
# A broker that its controller does not hear of for so long loses all of its partitions: by default
# nine seconds, for which a machine that is busy with tests has stood still. There is no other one
# that could have them.
UNHEARD = "broker.session.timeout.ms"


def session_broker() -> Sandbox:
    """Not started. It looks for what to compact as seldom as a Kafka by default; a scenario that
    waits for compaction takes the fixture `eager_cleaner`."""
    return Sandbox(settings={CLEANER_PAUSE: "15000", UNHEARD: "90000"})
