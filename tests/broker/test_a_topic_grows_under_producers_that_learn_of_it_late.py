"""A topic of 2 partitions gets a third under producers that write on as if it had not.

Keys cross both ways between the former partitions. Each key's results tell the order in which its
records were processed, which must be that in which they were acknowledged.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka.admin import NewPartitions

from streamer.config import Config
from streamer.control.current import write_layout
from streamer.ids import Layout
from streamer.kafka.admin import Admin
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.record import Record
from streamer.topology.partitioner import partition_of
from tests.broker.late import Writer, judge_chains
from tests.broker.workers import KILLED, Application
from tests.thorough import thorough

pytestmark = thorough

LAYOUT = Layout(2)
KEYS = [f"customer-{number}" for number in range(30)]


def grown(made: Application) -> ApplicationLayout:
    inputs = {made.topic("in"): InputLayout(3)}
    return ApplicationLayout(LAYOUT, {0: SubtopologyLayout(3, LAYOUT, inputs, "grow")})


def test_each_key_is_processed_in_the_order_in_which_it_was_acknowledged(
    application: Any, wait_until: Any
) -> None:
    moves = {(partition_of(key.encode(), 2), partition_of(key.encode(), 3)) for key in KEYS}
    assert {(0, 1), (1, 0), (0, 2), (1, 2)} <= moves
    made: Application = application("sequence", partitions=2, outputs=("results",))
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    written: list[Record] = []
    learns = Writer(made, KEYS[::2], written=written).start()
    remains = Writer(made, KEYS[1::2], written=written, believes=2).start()
    wait_until(lambda: min(learns.rounds, remains.rounds) > 100, what="producers that write")
    request = [NewPartitions(made.topic("in"), 3)]
    for done in made.kafka.admin.create_partitions(request).values():
        done.result(60)
    write_layout(config, Admin(config), grown(made))
    points = "commit.after_transaction_commit=kill@12"
    in_steps: dict[str, Any] = {"commit_interval_ms": 50, "max_poll_records": 100}
    killed = made.worker("a", failpoints=points, **in_steps)
    workers = [made.worker("b", **in_steps)]
    assert killed.wait() == KILLED
    workers.append(made.worker("a", **in_steps))
    # One learns of it by itself, the keys of the other one go on with a producer that is new.
    wait_until(lambda: 2 in learns.partitions, what="a producer that learns of the partition")
    remains.stop()
    assert remains.partitions == {0, 1}
    successor = Writer(made, remains.keys, written=written)
    successor.rounds = remains.rounds
    successor.start()
    wait_until(lambda: successor.rounds > remains.rounds + 20, what="a successor that writes")
    for writer in (learns, successor):
        writer.stop()
    assert successor.partitions == {0, 1, 2}
    strays = f"{made.name}-{made.topic('in')}-strays.layout-2"
    made.wait_until_done(made.topic("in"), strays, watch=workers)

    judge_chains(made, config, grown(made), written)
    late = sum(one.metric("streamer_strays_late_total") for one in workers)
    forwarded = sum(one.metric("streamer_strays_forwarded_total") for one in workers)
    assert (late, forwarded > 0) == (0, True)
    assert [one.stop() for one in workers] == [0, 0]
