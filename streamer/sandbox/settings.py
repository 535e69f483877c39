"""The settings of a Kafka on loopback: broker and controller in one process, alone or of several.

Nothing here changes what clients may rely on; the defaults of the distribution hold except where
one node, a small heap or short waits in development ask for another value.
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LOGGING", "ONE_NODE", "Seat", "fresh_cluster", "server_properties"]

ONE_NODE: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # 50 partitions each by default: many files and seconds of loading for one node.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # Waits that make sense for a cluster and only delay one developer.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    # 128 MB by default, a quarter of the heap.
    "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
}

_SEVERAL: Mapping[str, str] = {
    # A broker that is killed is given up, and others lead, after so long; 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # One that comes back leads what it led before; looked at every 5 minutes by default.
    "leader.imbalance.check.interval.seconds": "5",
}
_COPIES_MAX = 3


@dataclass(frozen=True, slots=True)
class Seat:
    """One node's place among several, each of which is a broker and a controller: what all have to
    know of each other before they start. `controllers` are the controllers' ports by node."""

    node: int
    cluster: str
    port: int
    controllers: Mapping[int, int]

    @property
    def ports(self) -> tuple[int, int]:
        """For clients, and for the controllers among themselves."""
        return self.port, self.controllers[self.node]

    @property
    def settings(self) -> dict[str, str]:
        """Of this node: copies as a cluster in production has them, one of which may be away."""
        copies = min(_COPIES_MAX, len(self.controllers))
        kept = max(1, copies - 1)
        voters = (f"{node}@127.0.0.1:{port}" for node, port in sorted(self.controllers.items()))
        replicated = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        return {
            **_SEVERAL,
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(voters),
            "default.replication.factor": str(copies),
            "min.insync.replicas": str(kept),
            **{f"{name}.replication.factor": str(copies) for name in replicated},
            **{f"{name}.min.isr": str(kept) for name in replicated if name != "offsets.topic"},
        }


# To standard output, which goes to the sandbox's log file. Without this the broker logs nowhere.
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server
logger.server.level = info
logger.config.name = org.apache.kafka.common.config
logger.config.level = error
"""


def fresh_cluster() -> str:
    """An id that no other cluster has."""
    return urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode("ascii")


def server_properties(
    log_directory: Path,
    *,
    port: int,
    controller_port: int,
    overrides: Mapping[str, str],
    listeners: Mapping[str, int] | None = None,
    seat: Seat | None = None,
) -> str:
    """The text of `server.properties`; `overrides` wins over everything above. `listeners` are
    further ones, by the protocol that each speaks, with their ports. Without a `seat` it is
    alone."""
    public = {"PLAINTEXT": port} | dict(listeners or {})
    advertised = ",".join(f"{name}://127.0.0.1:{each}" for name, each in public.items())
    settings = {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": f"{advertised},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": advertised,
        # Without it the controller's is not known beside one that speaks TLS or SASL.
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT"
        + "".join(f",{name}:{name}" for name in public),
        "log.dirs": str(log_directory),
        **ONE_NODE,
        **(seat.settings if seat else _alone(controller_port)),
        **overrides,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _alone(controller_port: int) -> dict[str, str]:
    return {
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
    }


def _escaped(value: str) -> str:
    """As java.util.Properties reads it: a backslash or a line break would be lost."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")
