"""What a worker tells besides rows: stores, health, tasks, metrics, and where to find them."""

from __future__ import annotations

import json
from datetime import timedelta

from streamer.http.serving import Health
from tests.unit.http.conftest import Start
from tests.unit.http.test_one_key import one_store


def test_the_stores_are_listed(start: Start) -> None:
    worker = one_store(start, ttl=timedelta(days=1))
    worker.put("totals", {b"%d" % number: (1, b"{}") for number in range(50)})
    assert worker.get("/stores").json == {
        "stores": [
            {
                "name": "totals",
                "kind": "key-value",
                "key": "utf8",
                "value": "json:dict",
                "ttl_ms": 86_400_000,
                "tasks": [
                    {
                        "task": "0_0",
                        "state": "running",
                        "stream_time_ms": 5_000,
                        "lag_records": 7,
                        "approximate_rows": 50,
                    }
                ],
            }
        ]
    }


def test_health_readiness_and_tasks(start: Start) -> None:
    worker = one_store(start)
    assert worker.get("/healthz").json == {"is_live": True, "reasons": []}
    assert worker.get("/readyz").json == {"is_ready": True, "reasons": []}
    worker.state_of_health = Health(True, False, ["task 0_0 is being restored"], {"worker": "w1"})
    assert worker.get("/healthz").status == 200
    ready = worker.get("/readyz")
    assert (ready.status, ready.json["reasons"]) == (503, ["task 0_0 is being restored"])
    worker.state_of_health = Health(False, True, ["no progress for 301 s"])
    live = worker.get("/healthz")
    assert (live.status, live.json["reasons"]) == (503, ["no progress for 301 s"])
    assert worker.get("/readyz").status == 503
    worker.state_of_health = Health(True, True, [], {"tasks": {"0_0": {"state": "running"}}})
    assert worker.get("/tasks").json == {"tasks": {"0_0": {"state": "running"}}}


def test_metrics_count_requests_by_route_and_status(start: Start) -> None:
    worker = one_store(start)
    line = 'streamer_http_requests_total{route="/stores/{store}/{key}",status="404"}'

    def count() -> float:
        page = worker.get("/metrics")
        assert page.headers["Content-Type"].startswith("text/plain; version=")
        found = [text for text in page.body.decode().splitlines() if text.startswith(line)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    before = count()
    for _ in range(3):
        worker.get("/stores/totals/nobody")
    worker.get("/surprise/" + "x" * 50)
    assert count() == before + 3
    assert b"surprise" not in worker.get("/metrics").body


def test_the_index_names_the_application_and_the_routes(start: Start) -> None:
    index = one_store(start).get("/").json
    assert index["application"] == "spend"
    assert "POST /stores/{store}" in index["routes"]


def test_a_wrong_path_or_method_says_what_there_is(start: Start) -> None:
    worker = one_store(start)
    reply = worker.get("/store/totals")
    assert (reply.status, reply.json["error"]) == (404, "there is nothing at /store/totals")
    assert "/stores/{store}" in reply.json["hint"]
    reply = worker.get("/stores/totals/ann", method="DELETE")
    assert (reply.status, reply.json["hint"]) == (405, "use GET")
    assert json.loads(worker.get("/stores/totals/ann", method="PUT", body={}).body)["error"]
