"""A conductor that is lost: it has an operation under way and the application in a pause, and dies.

Its pause is asked for where the operation's second step has begun, so both are held at that moment.
It prints the number of the pause, and the monotonic time, in seconds, before it asked for it.

    python -m tests.broker.conducting SETTINGS OPERATION LEASE_MS     SETTINGS is JSON
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.control.right import LayoutRight
from streamer.kafka.admin import Admin
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from tests.broker.workers import PATIENCE_S

_STEPS_DONE = 1


def main(settings: str, operation: str, lease_ms: int) -> None:
    config = Config(**json.loads(settings))
    right = LayoutRight.claim(config, Admin(config))

    def notice(record: OperationRecord) -> None:
        done = [step.id for step in record.steps if step.state == "done"]
        if len(done) == _STEPS_DONE:
            asked = time.monotonic()
            right.pause(lease_ms=lease_ms, by="a conductor that is lost")
            right.wait_until_held(timeout_s=PATIENCE_S)
            print(right.number, asked, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    table = KafkaTable(config)
    with Executor(config, table, all_kinds(), lease_ms=lease_ms, notice=notice) as executor:
        executor.start(operation)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
