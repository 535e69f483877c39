"""Every client of Kafka and of the registry that Streamer makes has the user's security settings.

The places where one is made are found in the source, so none can be left out here.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import pytest
import trustme
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives import serialization

from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.admin import Admin
from streamer.kafka.at_least_once import AtLeastOnceProducer
from streamer.kafka.changelog import ChangelogConsumer
from streamer.kafka.changes import Changes
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.group import Membership
from streamer.kafka.positions import PositionsReader
from streamer.kafka.readers import Readers
from streamer.kafka.registry.client import Registry
from streamer.kafka.stuck import answers_others
from streamer.kafka.table import ExclusiveWriter, TableReader, TableWriter

ROOT = Path(__file__).parents[3]
PLACE = TopicPartition("in", 0)


def token(_config: str) -> tuple[str, float]:
    return "e30.e30.", 4e9


SECURITY: dict[str, Any] = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanisms": "SCRAM-SHA-512",
    "sasl.password": "hunter2",
    "ssl.ca.location": "ca.pem",
    "ssl.certificate.location": "client.pem",
    "ssl.key.location": "client.key",
    "ssl.key.password": "swordfish",
    "ssl.endpoint.identification.algorithm": "https",
    "enable.ssl.certificate.verification": True,
    "oauth_cb": token,
}
USERS = {"consumer": "reader", "producer": "writer", "admin": "boss"}
REGISTRY = {
    "url": "https://registry:8081",
    "basic.auth.user.info": "ann:hunter2",
    "ssl.ca.location": "ca.pem",
    "ssl.key.location": "client.key",
    "ssl.certificate.location": "client.pem",
}


def config(**more: Any) -> Config:
    users = {f"{role}.sasl.username": user for role, user in USERS.items()}
    return Config(application_id="spend", worker_id="w1", kafka=SECURITY | users | more)


# -- what is made, and where -----------------------------------------------------------------------


class Site(NamedTuple):
    """A function that makes a client."""

    module: str
    function: str


class Sites(ast.NodeVisitor):
    """Finds the calls of what confluent_kafka calls a consumer, a producer or a client. `others`
    are uses of them that nobody can follow from here."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: set[Site] = set()
        self.others: list[str] = []
        self._names: dict[str, str] = {}
        self._scope: list[str] = []
        self._called: set[ast.AST] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if (node.module or "").split(".")[0] == "confluent_kafka":
            self._names |= {alias.asname or alias.name: alias.name for alias in node.names}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] == "confluent_kafka":
                self._names[alias.asname or "confluent_kafka"] = alias.name

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within(node.name, node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        # Annotations name classes and make nothing.
        self._within(f"{node.name}.<locals>", *node.decorator_list, *node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._within(f"{node.name}.<locals>", *node.decorator_list, *node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def _within(self, name: str, *nodes: ast.AST) -> None:
        self._scope.append(name)
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                self.generic_visit(node)
            else:
                self.visit(node)
        self._scope.pop()

    def visit_Call(self, node: ast.Call) -> None:
        if self._is_client(node.func):
            function = ".".join(self._scope).removesuffix(".<locals>")
            self.found.add(Site(self.module, function))
            self._called |= set(ast.walk(node.func))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        is_class = self._names.get(node.id, "").endswith(("Consumer", "Producer", "Client"))
        if is_class and node not in self._called:
            self.others.append(f"{self.module}:{node.lineno}: {node.id}")

    def _is_client(self, node: ast.expr) -> bool:
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._names:
            return False
        return any(
            name.endswith(("Consumer", "Producer", "Client"))
            for name in (self._names[node.id], *names)
        )


def scanned(text: str, module: str) -> Sites:
    sites = Sites(module)
    sites.visit(ast.parse(text))
    return sites


def all_sites() -> set[Site]:
    found: set[Site] = set()
    for file in sorted((ROOT / "streamer").rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        sites = scanned(file.read_text(encoding="utf-8"), module)
        assert not sites.others, f"{sites.others}: make clients by calling their class by its name"
        found |= sites.found
    return found


def test_the_scan_sees_clients_however_they_are_made() -> None:
    text = (
        "from confluent_kafka import Producer as P, KafkaError\n"
        "import confluent_kafka.aio as aio\n"
        "class A:\n"
        "    def make(self, known: P) -> P:\n"
        "        def inner(): return P({})\n"
        "        return inner()\n"
        "    async def slow(self): return aio.AIOConsumer({})\n"
        "def f():\n"
        "    from confluent_kafka.schema_registry import SchemaRegistryClient\n"
        "    KafkaError(1)\n"
        "    return SchemaRegistryClient.new_client({})\n"
        "kind = P\n"
    )
    sites = scanned(text, "m")
    assert {site.function for site in sites.found} == {"A.make.<locals>.inner", "A.slow", "f"}
    assert sites.others == ["m:12: P"]


# -- making them all -------------------------------------------------------------------------------


class Recorder:
    """In the place of a client's class: keeps who made one, with which settings."""

    def __init__(self, made: list[tuple[Site, dict[str, Any]]]) -> None:
        self._made = made

    def __call__(self, given: dict[str, Any]) -> MagicMock:
        frame = sys._getframe(1)
        # Of Python's 3.11 the qualified name of the function.
        site = Site(frame.f_globals["__name__"], frame.f_code.co_qualname)
        self._made.append((site, given))
        client = MagicMock()
        client.__len__.return_value = 0
        client.committed.return_value = []
        client.poll.return_value = None
        client.consume.return_value = []
        return client

    new_client = __call__


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Site, dict[str, Any]]]:
    records: list[tuple[Site, dict[str, Any]]] = []
    recorder = Recorder(records)
    for module in {site.module for site in all_sites()}:
        for name in ("Consumer", "Producer", "AdminClient"):
            if hasattr(importlib.import_module(module), name):
                monkeypatch.setattr(f"{module}.{name}", recorder)
    monkeypatch.setattr("confluent_kafka.schema_registry.SchemaRegistryClient", recorder)
    return records


def ask_in_vain(admin: Admin) -> None:
    """The members of a group are asked for by a client of its own."""
    client: Any = admin._coordinators._present()
    client.describe_consumer_groups.return_value = {"g": Future()}
    with pytest.raises(KafkaUnavailableError):
        admin.group_members("g", timeout_s=0.1)


def lose(reader: Any) -> None:
    """A client that reads is replaced when it has lost its brokers."""
    reader._at = {PLACE: 0}
    reader._stuck = MagicMock()
    reader._stuck.is_to_replace.return_value = True
    reader.fetch(1, 0)


def lose_writer(writer: TableWriter) -> None:
    writer.put(PLACE, "w1", b"")
    writer._replace()


def everything() -> Iterator[Callable[[], Any]]:
    """What makes every client there is."""
    given = config()
    yield lambda: ask_in_vain(Admin(given))
    yield lambda: Admin(given).fence("spend-w1")
    yield lambda: Admin(given).committed("spend", [PLACE])
    yield lambda: PositionsReader(given, "spend").committed([PLACE], timeout_s=1)
    yield lambda: lose(InputConsumer(given))
    yield lambda: lose(ChangelogConsumer(given))
    yield lambda: TableReader(given, [PLACE])
    yield lambda: lose_writer(TableWriter(given))
    yield lambda: ExclusiveWriter(given, "spend.controller")
    yield lambda: AtLeastOnceProducer(given, "spend-w1")
    yield lambda: Membership.of_candidate(given, client_id="w1#1")
    yield lambda: answers_others(settings.admin(given))
    yield lambda: Changes(given)
    yield lambda: Readers(given, Admin(given))
    yield lambda: Registry(REGISTRY)


def role_of(site: Site) -> str:
    if site.function in ("positions", "PositionsReader._ask", "answers_others"):
        return "admin"  # they ask for others
    if site.function.startswith(("Changes", "Coordinators", "Readers")):
        return "admin"
    if "Admin" in site.function:
        return "producer" if site.function.endswith("fence") else "admin"
    is_writer = "Writer" in site.function
    return "producer" if is_writer else "consumer"


@pytest.mark.slow
def test_every_client_has_the_security_settings_of_its_kind(
    made: list[tuple[Site, dict[str, Any]]],
) -> None:
    for make in everything():
        make()

    missing = all_sites() - {site for site, _given in made}
    assert not missing, f"add what makes these clients to everything(): {missing}"
    for site, given in made:
        if site.module.startswith("streamer.kafka.registry"):
            assert given.items() >= REGISTRY.items()
            continue
        wanted = SECURITY | {"sasl.username": USERS[role_of(site)]}
        assert given.items() >= wanted.items(), site


# -- what librdkafka takes -------------------------------------------------------------------------


def test_clients_take_certificates_and_a_key_with_a_password() -> None:
    authority = trustme.CA()
    own = authority.issue_cert("client@example.org")
    key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"swordfish"),
    )
    given = Config(
        application_id="spend",
        kafka={
            "security.protocol": "SSL",
            "ssl.ca.pem": authority.cert_pem.bytes().decode(),
            "ssl.certificate.pem": own.cert_chain_pems[0].bytes().decode(),
            "ssl.key.pem": encrypted.decode(),
            "ssl.key.password": "swordfish",
        },
    )
    settings.check(given)
    for role in ("input_consumer", "restore_consumer", "control_consumer", "candidate_consumer"):
        Consumer(getattr(settings, role)(given)).close()
    for name in (None, "spend-w1"):
        Producer(settings.producer(given, name)).poll(0)
    AdminClient(settings.admin(given)).poll(0)


@pytest.mark.slow
def test_a_function_that_gives_tokens_is_asked_by_every_client() -> None:
    asked: list[str] = []

    def fresh(about: str) -> tuple[str, float]:
        asked.append(about)
        return "e30.e30.", 4e9

    given = Config(
        application_id="spend",
        bootstrap_servers="127.0.0.1:9",
        kafka={
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "OAUTHBEARER",
            "sasl.oauthbearer.config": "about=this",
            "oauth_cb": fresh,
        },
    )
    settings.check(given)
    Consumer(settings.input_consumer(given)).close()
    Producer(settings.producer(given)).poll(0)
    AdminClient(settings.admin(given)).poll(0)
    assert len(asked) >= 3
    assert set(asked) == {"about=this"}
