"""A process that feeds the changelogs of one old task, until it is killed or has caught up.

python -m tests.broker.feeding BOOTSTRAP_SERVERS PLAN TASK STARTS       all but the first as JSON
"""

from __future__ import annotations

import json
import sys
import threading

from streamer.config import Config
from streamer.feed.feed import Feed
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import KafkaPorts

# At most some hundred records in a transaction, so that a kill is in the middle.
BYTES_PER_S = 20_000


def config(plan: FeedPlan, bootstrap_servers: str) -> Config:
    return Config(
        application_id=plan.application,
        bootstrap_servers=bootstrap_servers,
        memory_bytes_max=128 << 20,
    )


def main() -> None:
    bootstrap_servers, raw, task, starts = sys.argv[1:]
    plan = FeedPlan.decode(raw.encode(), "the command line")
    ports = KafkaPorts(config(plan, bootstrap_servers), stopping=threading.Event())
    with Feed(plan, int(task), ports, starts=json.loads(starts), bytes_per_s=BYTES_PER_S) as feed:
        while not (feed.step() == 0 and feed.caught_up()):
            pass


if __name__ == "__main__":
    main()
