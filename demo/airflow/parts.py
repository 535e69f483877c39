"""The processes that an Airflow is made of, and what each is started with."""

from __future__ import annotations

__all__ = ["PARTS", "STOP_S"]

# No servers of logs: all parts see the same files, and theirs would listen on every interface.
PARTS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
# A task that runs is asked to end as well; what it conducts is in Kafka and goes on later.
STOP_S = 12.0
