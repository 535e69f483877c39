"""`SandboxCluster`: several brokers on loopback, any of which can be taken away.

    with SandboxCluster() as kafka:
        App("demo", bootstrap_servers=kafka.bootstrap_servers, replication_factor=3)
        kafka.brokers[2].kill()
        kafka.brokers[2].restart()

Each is a controller, too (KRaft's combined mode): of three, two have to run. New topics have three
copies, and a write needs two of them, as in production.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Self

from streamer.errors import ConfigError, OperationRefusedError
from streamer.sandbox.broker import START_TIMEOUT, STOP_TIMEOUT, Sandbox
from streamer.sandbox.ports import free_ports
from streamer.sandbox.settings import Seat, fresh_cluster

__all__ = ["SandboxCluster"]


class SandboxCluster:
    """So many brokers, an odd number; their data is temporary. Times are seconds.

    `settings` are the brokers' own, by their names, and win over the sandbox's.
    """

    def __init__(
        self, size: int = 3, *, heap_mib: int = 256, settings: Mapping[str, str] | None = None
    ) -> None:
        if size < 3 or size % 2 == 0:
            raise ConfigError(
                f"a sandbox of several brokers has 3 of them, 5 or 7, and not {size}",
                hint="most of them have to run: of three one may be away, of four no more",
            )
        self._size = size
        self._heap_mib = heap_mib
        self._settings = dict(settings or {})
        self._brokers: dict[int, Sandbox] = {}

    @property
    def brokers(self) -> Mapping[int, Sandbox]:
        """By their ids, from 1 on; none before the first start."""
        return MappingProxyType(self._brokers)

    @property
    def bootstrap_servers(self) -> str:
        """All of them; known from the first start on."""
        if not self._brokers:
            raise OperationRefusedError("the sandbox has no ports yet", hint="call start()")
        return ",".join(broker.bootstrap_servers for broker in self._brokers.values())

    def start(self, *, timeout: float = 2 * START_TIMEOUT) -> Self:
        """Returns when all of them answer; they share the processors of this machine meanwhile.

        Raises:
            SandboxError: one could not be started; carries the end of its log.
        """
        if self._brokers:
            raise OperationRefusedError("the sandbox runs already")
        ports, nodes = free_ports(2 * self._size), range(1, self._size + 1)
        controllers = dict(zip(nodes, ports[self._size :], strict=True))
        cluster = fresh_cluster()
        for node, port in zip(nodes, ports[: self._size], strict=True):
            seat = Seat(node, cluster, port, controllers)
            self._brokers[node] = Sandbox(
                heap_mib=self._heap_mib, settings=self._settings, seat=seat
            )
        try:
            # None of them answers before most run.
            with ThreadPoolExecutor(self._size) as pool:
                list(pool.map(lambda each: each.start(timeout=timeout), self._brokers.values()))
        except BaseException:
            self.stop(timeout=1)
            raise
        return self

    def stop(self, *, timeout: float = STOP_TIMEOUT) -> None:
        """Stop them all, by force after `timeout`; the data goes. May be called twice."""
        with ThreadPoolExecutor(self._size) as pool:
            list(pool.map(lambda each: each.stop(timeout=timeout), self._brokers.values()))
        self._brokers = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()
