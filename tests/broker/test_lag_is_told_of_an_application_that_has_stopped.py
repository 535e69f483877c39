"""What nobody processes counts as lag: stopped or killed, and never as 0."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from tests.thorough import thorough_but


@pytest.mark.parametrize("ends_by", thorough_but(["kill"], ["stop", "kill"]))
def test_lag_is_what_the_group_has_yet_to_read(application: Any, ends_by: str) -> None:
    made = application("counts", outputs=("totals", "closed", "every"), partitions=2)
    made.kafka.produce(made.topic("in"), [(f"key-{row}", "1") for row in range(50)])
    worker = made.worker()
    worker.wait_started(2)
    made.wait_until_done()
    getattr(worker, ends_by)()

    made.kafka.produce(made.topic("in"), [(f"key-{row}", "1") for row in range(400)])
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    with Control(config) as control:
        lag = control.lag()
        assert lag.keys() == {"0_0", "0_1"}
        assert control.unread() == 400
        if ends_by == "stop":
            assert sum(records or 0 for records in lag.values()) == 400
