"""The verdict on `applications/counts.py`: the history checker, and the windows beside it."""

from __future__ import annotations

import importlib.util
from unittest.mock import patch

from streamer import App
from streamer.config import Config
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from streamer.testing.verdict import Verdict
from tests.broker import applications, expected
from tests.broker.applications.counts import Total, add
from tests.broker.conftest import HELD_UP_S
from tests.broker.workers import APPLICATIONS, Application


def described(application: Application) -> App:
    """The application as its workers have it, under its own name and topics."""
    spec = importlib.util.find_spec(f"{APPLICATIONS}.{application.module}")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.object(applications, "NAME", application.name):
        spec.loader.exec_module(module)
    app: App = module.app
    return app


def judged(application: Application) -> Verdict:
    """The totals: inputs, outputs, changelog and committed positions."""
    config = Config(
        application_id=application.name, bootstrap_servers=application.kafka.bootstrap_servers
    )
    history = cluster_history(
        described(application),
        config,
        inputs=application.topic("in"),
        output=application.topic("totals"),
        store="totals",
    )
    return check(history, per_key(Total, add))


def assert_exact(application: Application, *, held_up_s: float = HELD_UP_S) -> Verdict:
    """Nothing is lost, doubled or out of order, in totals and windows; workers should be idle."""
    verdict = judged(application)
    assert verdict, verdict
    assert verdict.inputs
    expected.check(application, held_up_s=held_up_s)
    return verdict
