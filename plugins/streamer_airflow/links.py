"""The button "Operation" of a task: its page in Airflow's own interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

__all__ = ["OperationLink", "operation_url", "show_link"]


class OperationLink(BaseOperatorLink):
    """To the operation that a task has planned or carries out."""

    @property
    def name(self) -> str:
        return "Operation"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The operator knows its operation once it has run in this process."""
        return operation_url(getattr(operator, "conn_id", ""), getattr(operator, "shown", ""))


def operation_url(connection: str, operation: str = "") -> str:
    """The page, below wherever Airflow is served."""
    prefix = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    place = f"{prefix}/streamer/?connection={quote(connection, safe='')}"
    return f"{place}#operation={quote(operation, safe='')}" if operation else place


def show_link(context: Context, operator: Any, operation: str) -> None:
    """Let the button lead there at once: Airflow itself writes links when a task has ended."""
    operator.shown = operation
    context["ti"].xcom_push(
        key=OperationLink().xcom_key, value=operation_url(operator.conn_id, operation)
    )
