"""A worker process as scenarios need it: a real member and a real transactional producer.

Its tasks do nothing by themselves. Commands come as lines on standard input, events go as lines of
JSON to standard output: `open` sends a record of each task and leaves the transaction open,
`commit` ends it, `lease` tells whether it answers as the owner, `leave` closes everything and says
good-bye.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time

from confluent_kafka import KafkaException, Producer

from streamer.clock import SystemClock
from streamer.cluster.member import Member, TaskReport
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.errors import FencedError
from streamer.ids import TaskId, transactional_id


class ClusterWorker:
    def __init__(self, settings: dict[str, object]) -> None:
        self.results = str(settings.pop("results"))
        count = int(str(settings.pop("tasks")))
        self.config = Config(**settings)  # type: ignore[arg-type]
        self.owned: frozenset[TaskId] = frozenset()
        self.seen = 0
        self.is_open = False
        self.commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        tasks = frozenset(TaskId(0, number) for number in range(count))
        self.member = Member(
            self.config,
            work=Work(tasks, tasks),
            clock=SystemClock(),
            address=f"{self.config.worker_id}:80",
        )
        self.producer = self.make_producer()

    def make_producer(self) -> Producer:
        worker = str(self.config.worker_id)
        producer = Producer(
            {
                "bootstrap.servers": self.config.bootstrap_servers,
                "transactional.id": transactional_id(self.config.application_id, worker),
                "transaction.timeout.ms": 60_000,
                "log_level": 2,
            }
        )
        producer.init_transactions(30)
        return producer

    def tell(self, event: str, **more: object) -> None:
        known = {
            "event": event,
            "at": time.time(),
            "incarnation": self.member.incarnation,
            "tasks": [str(task) for task in sorted(self.owned)],
            "is_controller": self.member.is_controller,
        }
        print(json.dumps(known | more), flush=True)

    def run(self) -> int:
        threading.Thread(target=self.listen, daemon=True).start()
        self.member.start()
        self.tell("started")
        is_controller = False
        while True:
            if failure := self.member.failure():
                self.tell("failed", error=failure.describe())
                self.member.leave(5)
                return 1
            try:
                self.follow()
                if not self.commands.empty() and not self.obey(self.commands.get()):
                    return 0
            except (FencedError, KafkaException) as error:
                self.start_again(error)
            if self.member.is_controller != is_controller:
                is_controller = self.member.is_controller
                self.tell("controller")
            time.sleep(0.01)

    def follow(self) -> None:
        desired = self.member.desired()
        if desired is None or desired.version == self.seen:
            return
        if self.owned - desired.tasks:
            self.commit()
        self.owned, self.seen = desired.tasks, desired.version
        self.report()
        self.tell("tasks", version=self.seen)

    def report(self) -> None:
        reports = {
            task: TaskReport(state="running", lag_records=task.partition) for task in self.owned
        }
        self.member.report(self.seen, reports, {})

    def obey(self, command: str) -> bool:
        if command == "open":
            self.producer.begin_transaction()
            self.is_open = True
            for task in sorted(self.owned):
                self.producer.produce(self.results, f"{self.member.incarnation} {task}", str(task))
            self.producer.flush(60)
            self.tell("opened")
        elif command == "commit":
            self.tell("committed" if self.commit() else "nothing to commit")
        elif command == "lease":
            self.tell("lease", holds=self.member.lease.holds)
        elif command == "leave":
            self.commit()
            self.owned = frozenset()
            self.report()
            began = time.monotonic()
            self.member.leave(10)
            self.tell("left", seconds=time.monotonic() - began)
            return False
        return True

    def commit(self) -> bool:
        """Whether there was anything to commit."""
        was_open, self.is_open = self.is_open, False
        if was_open:
            self.producer.commit_transaction(30)
        return was_open

    def start_again(self, error: Exception) -> None:
        self.owned, self.seen, self.is_open = frozenset(), 0, False
        self.producer = self.make_producer()
        self.member.rejoin()
        self.tell("fenced", error=str(error))

    def listen(self) -> None:
        for line in sys.stdin:
            self.commands.put(line.strip())


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(created).3f %(name)s %(message)s"
    )
    logging.getLogger("streamer.kafka.client").setLevel(logging.CRITICAL)
    sys.exit(ClusterWorker(json.loads(sys.argv[1])).run())
