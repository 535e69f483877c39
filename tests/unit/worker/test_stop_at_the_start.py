"""A worker that is told to stop while its brokers are away ends in seconds, with nothing wrong."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.topology.app import App
from streamer.worker.worker import Worker

# Nothing listens there.
NOWHERE = "127.0.0.1:1"


@pytest.mark.slow
def test_a_stop_is_heard_while_brokers_are_away(tmp_path: Path) -> None:
    app = App("spend")
    app.stream("in").to("out")
    config = Config(application_id="spend", bootstrap_servers=NOWHERE, state_dir=tmp_path)
    worker = Worker(app.topology(), config)
    threading.Timer(0.5, worker.stop).start()
    began = time.monotonic()
    assert worker.run() == 0
    assert time.monotonic() - began < 20
