"""What the page may change: it asks, and whoever carries an operation out does the work."""

from __future__ import annotations

from streamer.control.operations import OperationRecord
from streamer.operations.asking import ask_to_cancel
from streamer.operations.table import KafkaTable
from streamer_airflow.hooks.application import ApplicationHook

__all__ = ["cancel"]


def cancel(conn_id: str, operation: str, *, why: str, now_ms: int) -> OperationRecord:
    """Ask for it over this connection; the record as it is then. Raises OperationRefusedError where
    there is no way back, or nobody would hear."""
    with KafkaTable(ApplicationHook(conn_id).config()) as table:
        return ask_to_cancel(table, operation, why=why, now_ms=now_ms)
