"""What DAGs leave of the totals of an application, judged by the history checker."""

from __future__ import annotations

from streamer.control.current import current_layout
from streamer.kafka.admin import Admin
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from tests.airflow.dags.conftest import Runs
from tests.broker.applications.counts import Total, add
from tests.broker.exact import described

__all__ = ["judge"]


def judge(here: Runs) -> None:
    made = here.made
    made.wait_until_done(made.topic("in"), timeout=900, watch=made.workers)
    history = cluster_history(
        described(made),
        here.config,
        inputs=made.topic("in"),
        output=made.topic("totals"),
        store="totals",
        layout=current_layout(here.config, Admin(here.config)),
    )
    verdict = check(history, per_key(Total, add))
    assert verdict, verdict
    assert verdict.inputs
