from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from streamer import metrics


def _sample(text: str) -> list[str]:
    return [line for line in metrics.expose().decode().splitlines() if line.startswith(text)]


def test_names_carry_the_prefix_and_plain_units() -> None:
    names = [metric.name for metric in metrics.declared()]
    assert len(names) == len(set(names))
    for metric in metrics.declared():
        assert re.fullmatch(r"streamer_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.meaning.endswith("."), metric.name
        assert metric.unit, metric.name


def test_labels_stay_within_what_a_topology_bounds() -> None:
    labels = {label for metric in metrics.declared() for label in metric.labels}
    assert labels <= {
        *("task", "topic", "partition", "store", "reason", "state", "part", "place", "policy"),
        *("route", "status", "application", "worker", "zone", "version", "mode"),
    }


def test_a_task_that_left_takes_its_gauges_along() -> None:
    metrics.lag_records.labels("7_1", "purchases", "1").set(12)
    metrics.records_processed.labels("7_1").inc(3)
    metrics.set_task_state("7_1", "restoring")
    metrics.set_task_state("7_1", "running")
    shown = [line for line in _sample("streamer_task_state{") if "7_1" in line]
    assert shown == ['streamer_task_state{state="running",task="7_1"} 1.0']
    assert _sample('streamer_lag_records{partition="1",task="7_1"')
    metrics.forget_task("7_1")
    assert not [line for line in _sample("streamer_lag_records{") if "7_1" in line]
    assert not [line for line in _sample("streamer_task_state{") if "7_1" in line]
    assert 'streamer_records_processed_total{task="7_1"} 3.0' in _sample("streamer_records_proc")


def test_a_counter_is_one_series() -> None:
    metrics.commits.inc()
    assert not [line for line in _sample("streamer_") if "_created" in line]


def test_every_metric_is_updated_somewhere() -> None:
    root = Path(metrics.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py")))
    never = [
        name
        for name, value in vars(metrics).items()
        if isinstance(value, MetricWrapperBase)
        # `task_state` has a function of its own beside it.
        and f"metrics.{name}." not in code
        and name != "task_state"
    ]
    assert never == []
    assert "metrics.set_task_state(" in code
