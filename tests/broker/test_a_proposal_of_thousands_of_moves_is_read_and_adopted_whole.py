"""A proposal that no message could hold: its controller writes it, whoever asked reads all of it,
and the next controller goes by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from msgspec.structs import replace

from streamer.cluster.goal import copies_named
from streamer.cluster.plan import Plan, Policy
from streamer.cluster.ports import KafkaPorts
from streamer.cluster.wishes import Wishes
from streamer.config import Config
from streamer.control.operator import Operator
from streamer.control.requests import ProposalRecord, RebalanceRecord
from streamer.control.topics import ControlTopics
from streamer.ids import TaskId
from streamer.kafka.admin import Admin
from tests.broker.conftest import Names
from tests.broker.workers import PATIENCE_S, pauses
from tests.unit.control.moving import LONGEST, TASKS, made


@contextmanager
def controlling(config: Config) -> Iterator[KafkaPorts]:
    admin = Admin(config)
    topics = ControlTopics.prepare(config, admin)
    with closing(KafkaPorts(config, topics, admin)) as ports:
        ports.claim()
        yield ports


def found(ports: KafkaPorts) -> ProposalRecord | None:
    """As a new controller reads it."""
    ports.load()
    proposals = [one for one in ports.requests() if isinstance(one, ProposalRecord)]
    return proposals[0] if proposals else None


def proposed(config: Config, number: str) -> ProposalRecord:
    """As whoever asked reads it: what was committed may be hidden for a moment."""
    with Operator(config) as operator:
        for _look in pauses(PATIENCE_S):
            read, _plan = operator.answers()
            if read is not None and read.number == number:
                return read
    raise AssertionError(f"nobody has proposed {number}")


def adopted(proposal: ProposalRecord) -> int:
    """How many tasks are placed as it says, once somebody had it applied."""
    plan = Plan(frozenset(map(TaskId.parse, proposal.after)), Policy(standby_replicas=1))
    plan.target = copies_named(proposal.before)
    after = copies_named(proposal.after)
    plan.workers = frozenset(worker for each in after.values() for worker in each.workers)
    wishes = Wishes()
    wishes.remember(proposal)
    assert wishes.hear(RebalanceRecord(number="1", id=proposal.id), plan)
    assert wishes.fulfil(plan)
    assert wishes.outcome == ("1", "adopted")
    return sum(plan.target[task] == copies for task, copies in after.items())


def test_nothing_of_it_is_missing(broker: str, names: Names) -> None:
    config = Config(application_id=names.application, bootstrap_servers=broker, worker_id="w1")
    # More than the controller's producer holds at a time.
    largest = made(10_000, name=LONGEST)
    few = made(10, number="few")
    with controlling(config) as ports:
        ports.tell(largest)
        read = proposed(config, largest.number)
        assert (read.before, read.after, read.moves) == (
            largest.before,
            largest.after,
            largest.moves,
        )
    with controlling(config) as ports:
        assert found(ports) == read
        ports.tell(made(number="whole zone"))
        read = proposed(config, "whole zone")
        assert adopted(read) == len(read.after) == TASKS
    with controlling(config) as ports:
        assert found(ports) == read
        ports.tell(few)
    with controlling(config) as ports:
        assert found(ports) == replace(few, application=names.application)
