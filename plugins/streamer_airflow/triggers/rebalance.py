"""`MovesTrigger`: wait until the controller has no moves left. It only reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from streamer.config import Config
from streamer.control.operator import Operator
from streamer.control.requests import PlanRecord
from streamer.errors import StreamerError
from streamer_airflow.deadlines import now_ms
from streamer_airflow.hooks.application import ApplicationHook

__all__ = ["MovesTrigger"]

_LOOK_S = 5.0
# A broker that is restarted is no reason to end a wait of hours.
_FAILURES_MAX = 10


class MovesTrigger(BaseTrigger):
    """Ends when no moves are left, or at `until_ms` with how many there are; 0 is without end."""

    def __init__(self, conn_id: str, *, until_ms: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.until_ms = until_ms

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "streamer_airflow.triggers.rebalance.MovesTrigger",
            {"conn_id": self.conn_id, "until_ms": self.until_ms},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        connection = await BaseHook.aget_connection(self.conn_id)
        failures = 0
        while True:
            try:
                config = await asyncio.to_thread(ApplicationHook.config_from, connection)
                plan = await asyncio.to_thread(_plan, config)
                failures = 0
            except StreamerError as error:
                failures += 1
                if failures >= _FAILURES_MAX:
                    yield TriggerEvent({"error": error.describe()})  # type: ignore[no-untyped-call]
                    return
                plan = None
            if plan is not None and not plan.moves_left:
                modes = [f"{one.name}: ends when {one.until}" for one in plan.modes]
                yield TriggerEvent({"moves_left": 0, "modes": modes})  # type: ignore[no-untyped-call]
                return
            # Looked at first: Airflow may have been away when the last move was made.
            if plan is not None and self.until_ms and now_ms() >= self.until_ms:
                yield TriggerEvent({"moves_left": plan.moves_left})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(_LOOK_S)


def _plan(config: Config) -> PlanRecord | None:
    with Operator(config) as operator:
        return operator.plan()
