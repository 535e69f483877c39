"""`OperationTrigger`: drive an operation on from the triggerer, while workers do its work.

It holds the operation's lease in a thread of its own, so progress goes on being told, and no slot
is taken. A triggerer that is stopped leaves it in order; one that is killed leaves it to the lease:
whoever runs the trigger next waits that out and goes on. Two that run at once do it once.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from streamer.errors import OperationRefusedError, StoppedError, StreamerError
from streamer_airflow.deadlines import Deadline
from streamer_airflow.driving import Driver
from streamer_airflow.hooks.application import ApplicationHook, executor_of

__all__ = ["OperationTrigger"]

# A step looks every second whether it is to stop; noting that takes a transaction.
_LEAVE_S = 15.0


class OperationTrigger(BaseTrigger):
    """Ends when the operation has, or at `until_ms`, where that is not 0; its event names the
    operation and is worth a look at it. `conductor` is for whom it drives. With a step `until` it
    ends when that is done, and it ends as well where there is work that workers do not do: that is
    not done here."""

    def __init__(
        self,
        conn_id: str,
        operation: str,
        plan_id: str = "",
        *,
        until_ms: int = 0,
        conductor: str = "",
        until: str = "",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.operation = operation
        self.plan_id = plan_id
        self.until_ms = until_ms
        self.conductor = conductor
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """No secret: the connection is asked for when it runs."""
        return (
            "streamer_airflow.triggers.operation.OperationTrigger",
            {
                "conn_id": self.conn_id,
                "operation": self.operation,
                "plan_id": self.plan_id,
                "until_ms": self.until_ms,
                "conductor": self.conductor,
                "until": self.until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        connection = await BaseHook.aget_connection(self.conn_id)
        try:
            config = await asyncio.to_thread(ApplicationHook.config_from, connection)
        except StreamerError as error:
            yield TriggerEvent({"operation": self.operation, "error": error.describe()})  # type: ignore[no-untyped-call]
            return
        limit_s = Deadline(self.until_ms, 0).left_s if self.until_ms else 0.0
        opened = functools.partial(executor_of, config, conductor=self.conductor)
        driver = Driver(opened, limit_s=limit_s, looks_on=bool(self.until))
        # Not the loop's own threads: others wait for those.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="streamer-operation")
        # What the thread logs belongs to the task's log.
        run = contextvars.copy_context().run
        driving = asyncio.get_running_loop().run_in_executor(pool, run, self._drive, driver)
        try:
            said = await asyncio.shield(driving)
        except asyncio.CancelledError:
            driver.stop()
            await asyncio.wait({driving}, timeout=_LEAVE_S)
            raise
        finally:
            # Nothing is waited for: the loop has other triggers.
            pool.shutdown(wait=False)
        yield TriggerEvent(said)  # type: ignore[no-untyped-call]

    def _drive(self, driver: Driver) -> dict[str, Any]:
        told: dict[str, Any] = {"operation": self.operation, "plan_id": self.plan_id}
        try:
            record = driver.drive(self.operation, self.plan_id, until=self.until)
            return told | {"state": record.state}
        except StoppedError:
            return told | {"state": "late" if driver.is_late else "left"}
        except OperationRefusedError as error:
            return told | {"refused": error.describe()}
        except StreamerError as error:
            return told | {"error": error.describe()}
