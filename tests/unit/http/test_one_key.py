"""GET /stores/{store}/{key} of key-value stores, over a socket."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf import api_pb2  # type: ignore[import-untyped]

from streamer.ids import TaskId
from streamer.serdes import MessagePack
from streamer.store.keys import row
from streamer.store.rocks import TaskDatabase
from streamer.topology.app import App
from streamer.topology.declared import name_of
from streamer.topology.serde import Bytes, Int32
from streamer.topology.stores import Store
from tests.unit.http.conftest import Start, Worker


@dataclass(frozen=True)
class Place:
    shop: str
    shelf: int


def one_store(start: Start, key: Any = str, value: Any = dict, *, ttl: Any = None) -> Worker:
    app = App("spend")
    app.table("customers", key=key, value=value, store=Store("totals", ttl=ttl))
    worker = start(app.topology())
    worker.open(0, stream_time_ms=5_000, lag=7)
    return worker


def test_a_key_comes_with_its_task_time_and_lag(start: Start) -> None:
    worker = one_store(start)
    worker.put("totals", {b"ann": (1_234, b'{"orders":2}')})
    reply = worker.get("/stores/totals/ann")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.json == {
        "key": "ann",
        "value": {"orders": 2},
        "timestamp_ms": 1_234,
        "task": "0_0",
        "stream_time_ms": 5_000,
        "lag_records": 7,
    }


def test_an_absent_key_is_404_with_the_state_of_its_task(start: Start) -> None:
    reply = one_store(start).get("/stores/totals/nobody")
    assert reply.status == 404
    assert reply.json["error"] == "store 'totals' has no key 'nobody'"
    assert (reply.json["task"], reply.json["lag_records"]) == ("0_0", 7)


def test_an_unknown_store_is_404_with_the_nearest_name(start: Start) -> None:
    worker = one_store(start)
    reply = worker.get("/stores/total/ann")
    assert (reply.status, reply.json["hint"]) == (404, "did you mean 'totals'?")
    reply = worker.get("/stores/x/ann")
    assert (reply.status, reply.json["hint"]) == (404, "its stores: totals")


@pytest.mark.parametrize("key", ["Zoë", "a b", "a/b", "a+b", "%", "?#&=", "", "日本", "."])
def test_any_text_is_a_key(start: Start, key: str) -> None:
    worker = one_store(start)
    worker.put("totals", {key.encode(): (1, b'{"n":1}')})
    reply = worker.get(f"/stores/totals/{quote(key, safe='')}")
    assert (reply.status, reply.json["key"]) == (200, key)


def test_a_slash_in_a_key_need_not_be_escaped(start: Start) -> None:
    worker = one_store(start)
    worker.put("totals", {b"a/b/c": (1, b'{"n":1}')})
    assert worker.get("/stores/totals/a/b/c").json["key"] == "a/b/c"


@pytest.mark.parametrize(
    ("kind", "stored", "text", "shown"),
    [
        (int, (42).to_bytes(8, "big"), "42", 42),
        (int, (-1).to_bytes(8, "big", signed=True), "-1", -1),
        (Int32, (7).to_bytes(4, "big"), "7", 7),
        (float, b"\x3f\xf8" + bytes(6), "1.5", 1.5),
        (Place, b'{"shop":"a","shelf":3}', '{"shelf":3,"shop":"a"}', {"shop": "a", "shelf": 3}),
        (tuple[str, int], b'["a",3]', '[ "a", 3 ]', ["a", 3]),
        (MessagePack(int), b"\x05", "5", 5),
    ],
    ids=["int", "negative", "int32", "float", "dataclass", "tuple", "msgpack"],
)
def test_a_key_is_written_by_its_type(
    start: Start, kind: Any, stored: bytes, text: str, shown: Any
) -> None:
    worker = one_store(start, key=kind)
    worker.put("totals", {stored: (1, b'{"n":1}')})
    reply = worker.get(f"/stores/totals/{quote(text, safe='')}")
    assert (reply.status, reply.json["key"]) == (200, shown)


BINARY = bytes([0, 255, 37, 47, 200])


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("%00%FF%25%2F%C8", "", base64.b64encode(BINARY).decode()),
        (BINARY.hex(), "?key_encoding=hex", BINARY.hex()),
        (
            base64.urlsafe_b64encode(BINARY).decode(),
            "?key_encoding=base64",
            base64.b64encode(BINARY).decode(),
        ),
        (
            quote(base64.b64encode(BINARY).decode(), safe=""),
            "?key_encoding=base64",
            base64.b64encode(BINARY).decode(),
        ),
    ],
    ids=["percent", "hex", "base64 for addresses", "base64"],
)
def test_binary_keys(start: Start, text: str, query: str, shown: str) -> None:
    worker = one_store(start, key=Bytes)
    worker.put("totals", {BINARY: (1, b'{"n":1}')})
    reply = worker.get(f"/stores/totals/{text}{query}")
    assert (reply.status, reply.json["key"]) == (200, shown)


@pytest.mark.parametrize(
    ("kind", "path", "error"),
    [
        (int, "ann", "'ann' is not a key of store 'totals', which are int64"),
        (Int32, "3000000000", "int32 cannot hold 3000000000 (int)"),
        (int, "1_0", "'1_0' is not a key of store 'totals', which are int64: a number has digits"),
        (float, "1_0.5", "a number has digits alone"),
        (int, "\u0661", "a number has digits alone"),
        (str, "%FF", "the key is not UTF-8"),
        (str, "zz?key_encoding=hex", "key 'zz' is not hex"),
        (str, "a?key_encoding=base64", "key 'a' is not base64"),
        (str, "a?key_encoding=rot13", "key_encoding='rot13' is not possible"),
        (str, "a?key_encodin=hex", "unknown parameter 'key_encodin'"),
        (str, "a?local=1&local=1", "parameter 'local' is given twice"),
        (str, "k?local=yes", "local='yes' is not possible"),
        (str, "a?from=1", "unknown parameter 'from'"),
        (Place, '{"shop":1}', "is not a key of store 'totals', which are json:Place"),
    ],
)
def test_a_wrong_key_is_400_and_says_why(start: Start, kind: Any, path: str, error: str) -> None:
    reply = one_store(start, key=kind).get("/stores/totals/" + quote(path, safe="%?=&"))
    assert reply.status == 400
    assert error in reply.json["error"]
    assert reply.json["hint"]


def test_a_text_key_of_json_needs_its_quotes_and_the_hint_says_so(start: Start) -> None:
    worker = one_store(start, key=str | int)
    worker.put("totals", {b'"ann"': (1, b'{"n":1}')})
    assert worker.get("/stores/totals/%22ann%22").json["key"] == "ann"
    reply = worker.get("/stores/totals/ann")
    assert reply.status == 400
    assert reply.json["hint"] == 'JSON is expected, such as "ann" with its quotes'


def test_values_are_shown_as_json_whatever_they_are(start: Start) -> None:
    worker = one_store(start, value=bytes)
    worker.put("totals", {b"ann": (1, b"\x00\xff")})
    assert worker.get("/stores/totals/ann").json["value"] == "AP8="
    assert worker.get("/stores/totals/ann?value_encoding=hex").json["value"] == "00ff"


class Colour:
    """What a serde of the user's own may return."""

    def __init__(self, name: str) -> None:
        self.name = name


class Colours:
    def encode(self, value: Colour) -> bytes:
        return value.name.encode()

    def decode(self, data: bytes) -> Colour:
        return Colour(data.decode())


def test_an_object_of_the_users_is_shown_by_its_fields(start: Start) -> None:
    worker = one_store(start, value=Colours())
    worker.put("totals", {b"ann": (1, b"red")})
    assert worker.get("/stores/totals/ann").json["value"] == {"name": "red"}


class Methods:
    """A serde of Protobuf messages, which know no JSON by themselves."""

    def encode(self, value: Any) -> bytes:
        return bytes(value.SerializeToString())

    def decode(self, data: bytes) -> Any:
        return api_pb2.Method.FromString(data)


def test_a_protobuf_message_is_shown_with_its_own_field_names(start: Start) -> None:
    worker = one_store(start, value=Methods())
    message = api_pb2.Method(name="pay", request_type_url="x/y")
    worker.put("totals", {b"ann": (1, message.SerializeToString())})
    shown = worker.get("/stores/totals/ann").json["value"]
    assert shown == {"name": "pay", "request_type_url": "x/y"}


def test_a_value_that_cannot_be_decoded_can_be_seen_as_bytes(start: Start) -> None:
    worker = one_store(start, value=dict)
    worker.put("totals", {b"ann": (1, b"not json")})
    reply = worker.get("/stores/totals/ann")
    assert reply.status == 500
    assert "the value of key 'ann' in store 'totals' cannot be shown" in reply.json["error"]
    assert reply.json["hint"] == "?value_encoding=base64 shows its bytes"
    shown = worker.get("/stores/totals/ann?value_encoding=base64").json["value"]
    assert base64.b64decode(shown) == b"not json"


def test_a_row_past_its_ttl_is_absent_though_it_is_still_stored(start: Start) -> None:
    worker = one_store(start, ttl=timedelta(seconds=1))
    worker.put("totals", {b"old": (4_000, b"{}"), b"new": (4_001, b"{}")})
    assert worker.get("/stores/totals/old").status == 404
    assert worker.get("/stores/totals/new").status == 200
    assert worker.get("/stores/totals").keys == ["new"]
    many = worker.post("/stores/totals", {"keys": ["old", "new"]}).json["rows"]
    assert [None if one is None else one["key"] for one in many] == [None, "new"]


@pytest.mark.parametrize(
    ("state", "stream_time_ms", "status"),
    [("running", -1, 200), ("failed", 5, 200), ("failed", -1, 503), ("restoring", 5, 503)],
)
def test_a_task_is_read_when_its_rows_are_complete(
    start: Start, state: str, stream_time_ms: int, status: int
) -> None:
    worker = one_store(start)
    worker.put("totals", {b"ann": (1, b"{}")})
    ((task, served),) = worker.served.items()
    worker.serve(task, served.database, stream_time_ms=stream_time_ms, state=state, lag=99)
    reply = worker.get("/stores/totals/ann")
    assert reply.status == status
    if status == 503:
        assert int(reply.headers["Retry-After"]) >= 1
        assert reply.json["error"] == f"task 0_0 is {state}, with 99 records to go"
        expected = {"task": "0_0", "state": state, "lag_records": 99, "owner": None}
        assert expected.items() <= reply.json.items()


def test_a_task_that_nobody_runs_is_503(start: Start) -> None:
    worker = one_store(start)
    ((_task, served),) = worker.served.items()
    database = served.database
    assert isinstance(database, TaskDatabase)
    database.close()
    worker.served.clear()
    reply = worker.get("/stores/totals/ann")
    assert (reply.status, reply.json["error"]) == (503, "nobody is known to run task 0_0")
    worker.counts = 0
    assert "is not known yet" in worker.get("/stores/totals/ann").json["error"]


def test_a_database_that_was_just_closed_is_503(start: Start) -> None:
    worker = one_store(start)
    ((_task, served),) = worker.served.items()
    assert isinstance(served.database, TaskDatabase)
    served.database.close()
    reply = worker.get("/stores/totals/ann")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert "was closed" in reply.json["error"]


def test_only_what_was_committed_is_seen_and_at_once(start: Start) -> None:
    worker = one_store(start)
    worker.put("totals", {b"ann": (1, b'{"n":1}')})
    assert worker.get("/stores/totals/ann").json["value"] == {"n": 1}
    worker.put("totals", {b"ann": (2, b'{"n":2}')})
    assert worker.get("/stores/totals/ann").json["value"] == {"n": 2}
    ((_task, served),) = worker.served.items()
    assert isinstance(served.database, TaskDatabase)
    served.database.write({"totals": [(b"ann", None), (b"bob", row(3, b"{}"))]}, {})
    assert worker.get("/stores/totals/ann").status == 404
    assert worker.get("/stores/totals/bob").status == 200


def by_number(key: bytes, count: int) -> int:
    return int(key.partition(b"-")[2]) * count // 600


def test_a_key_is_looked_for_where_a_declared_partitioner_puts_it(start: Start) -> None:
    app = App("spend")
    app.table("customers", key=str, value=int, store="totals", partitioner=by_number)
    worker = start(app.topology(), counts=2)
    worker.by, worker.width = name_of(by_number), 4
    worker.open(0, 1)
    # Partition 3 of four is of task 1 of two.
    database = worker.served[TaskId(0, 1)].database
    assert isinstance(database, TaskDatabase)
    database.write({"totals": [(b"customer-599", row(1, (9).to_bytes(8, "big")))]}, {})
    assert worker.get("/stores/totals/customer-599").json["value"] == 9
    failed = worker.get("/stores/totals/nobody")
    assert failed.status == 400
    assert "the declared partitioner raised ValueError for key b'nobody'" in failed.json["error"]


def test_several_keys_come_in_the_order_asked_for(start: Start) -> None:
    app = App("spend")
    app.table("customers", key=str, value=int, store="totals")
    worker = start(app.topology(), counts=4)
    worker.open(0, 1, 2, 3)
    names = [f"customer-{number}" for number in range(600)]
    worker.put(
        "totals",
        {name.encode(): (n, n.to_bytes(8, "big")) for n, name in enumerate(names) if n % 3},
    )
    asked = [*reversed(names), "customer-1"]
    reply = worker.post("/stores/totals", {"keys": asked})
    assert reply.status == 200
    found = [None if one is None else (one["key"], one["value"]) for one in reply.json["rows"]]
    numbers = [*range(599, -1, -1), 1]
    assert found == [(f"customer-{n}", n) if n % 3 else None for n in numbers]
    tasks = {one["task"] for one in reply.json["rows"] if one is not None}
    assert tasks == {"0_0", "0_1", "0_2", "0_3"}


@pytest.mark.parametrize(
    ("kind", "keys", "stored"),
    [
        (int, [3], (3).to_bytes(8, "big")),
        (float, [2], b"\x40\x00" + bytes(6)),
        (bytes, ["AP8="], b"\x00\xff"),
        (Place, [{"shelf": 3, "shop": "a"}], b'{"shop":"a","shelf":3}'),
    ],
)
def test_keys_in_a_body_are_json(start: Start, kind: Any, keys: list[Any], stored: bytes) -> None:
    worker = one_store(start, key=kind)
    worker.put("totals", {stored: (1, b'{"n":1}')})
    reply = worker.post("/stores/totals", {"keys": keys})
    assert [one["value"] for one in reply.json["rows"]] == [{"n": 1}]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (["ann"], "the body is not as expected"),
        ({"keys": "ann"}, "the body is not as expected"),
        ({"keys": ["ann"], "limit": 3}, "the body is not as expected"),
        ({"keys": [3]}, "3 is not a key of store 'totals', which are utf8: str is expected"),
        ({"keys": ["a"] * 10_001}, "10001 keys are too many"),
    ],
)
def test_a_wrong_body_is_400(start: Start, body: Any, error: str) -> None:
    reply = one_store(start).post("/stores/totals", body)
    assert reply.status == 400
    assert error in reply.json["error"]
