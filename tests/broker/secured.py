"""A Kafka that lets in who has a password, and lets nobody do what was not granted.

Workers come by SASL_SSL with a certificate of an authority made for this run; the scenarios' own
client comes by the plain listener and may do everything.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from streamer.sandbox import Sandbox
from tests.broker.conftest import Kafka
from tests.broker.workers import Application

PASSWORD = "correct horse battery staple"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
_SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    # Who comes by the plain listener: the scenarios' own client, and the broker itself.
    "super.users": "User:ANONYMOUS",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
    "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _SCRAM,
    # Tokens that nobody signed: what is tried is that they are asked for.
    "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": _OAUTH,
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    # A certificate says who one is only where one comes by TLS alone.
    "listener.name.ssl.ssl.client.auth": "required",
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/,DEFAULT",
}
_KINDS = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Alter": AclOperation.ALTER,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}


class Grant(NamedTuple):
    """One operation on one resource, as `kafka-acls.sh` grants it."""

    operation: str
    kind: str
    name: str
    is_prefix: bool

    def __str__(self) -> str:
        return f"{self.operation} {self.kind.strip('-')} {self.name}{'*' if self.is_prefix else ''}"


def granted(command: str) -> Iterator[Grant]:
    """What a `kafka-acls.sh --add` command grants."""
    words = shlex.split(command.replace("\\\n", " "))
    pairs = list(pairwise(words))
    is_prefix = ("--resource-pattern-type", "prefixed") in pairs
    for option, name in pairs:
        if option in _KINDS:
            for flag, operation in pairs:
                if flag == "--operation":
                    yield Grant(operation, option, name, is_prefix)


class SecuredKafka:
    """The broker with its users. `kafka` may do everything."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(self.path("ca.pem"))
        own = self.path("broker.pem")
        _write_identity(own, self.authority.issue_cert("127.0.0.1"))
        stores = {"ssl.keystore.location": own, "ssl.truststore.location": self.path("ca.pem")}
        self.sandbox = Sandbox(settings=_SETTINGS | stores, listeners=("SASL_SSL", "SSL")).start()
        self.kafka = Kafka(self.sandbox.bootstrap_servers)

    @property
    def address(self) -> str:
        """Where workers come in."""
        return self.sandbox.address("SASL_SSL")

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def user(self, name: str) -> dict[str, str]:
        """A new user with no right at all; the settings with which it comes in."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(name, info, PASSWORD.encode())
        for made in self.kafka.admin.alter_user_scram_credentials([wanted]).values():
            made.result(60)
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": name,
            "sasl.password": PASSWORD,
            "ssl.ca.location": self.path("ca.pem"),
        }

    def certificate(self, name: str) -> dict[str, str]:
        """Settings for who comes with a certificate alone."""
        cert = self.authority.issue_cert(f"{name}.example.org", common_name=name)
        path = self.path(f"{name}.pem")
        _write_identity(path, cert)
        return {
            "security.protocol": "SSL",
            "ssl.certificate.location": path,
            "ssl.key.location": path,
            "ssl.ca.location": self.path("ca.pem"),
        }

    def grant(self, user: str, grants: Iterable[Grant]) -> None:
        wanted = [_binding(user, each) for each in grants]
        for made in self.kafka.admin.create_acls(wanted).values():
            made.result(60)

    def revoke(self, user: str, grants: Iterable[Grant]) -> None:
        wanted = [_binding(user, each) for each in grants]
        filters = [
            AclBindingFilter(
                one.restype,
                one.name,
                one.resource_pattern_type,
                one.principal,
                one.host,
                one.operation,
                one.permission_type,
            )
            for one in wanted
        ]
        for gone in self.kafka.admin.delete_acls(filters).values():
            assert gone.result(60)

    def close(self) -> None:
        self.sandbox.stop()


def _binding(user: str, grant: Grant) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if grant.is_prefix else ResourcePatternType.LITERAL
    return AclBinding(
        _KINDS[grant.kind],
        grant.name,
        pattern,
        f"User:{user}",
        "*",
        _OPERATIONS[grant.operation],
        AclPermissionType.ALLOW,
    )


def _write_identity(path: str, cert: trustme.LeafCert) -> None:
    """The key and the certificates in one file. Kafka reads keys in PKCS 8 alone."""
    key = serialization.load_pem_private_key(cert.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
    Path(path).write_bytes(key + chain)


class SecuredApplication(Application):
    """`applications/secured.py` with the rights of a user of its own, who has the id's name. Its
    topics have other names than those that the application makes."""

    def __init__(self, broker: SecuredKafka, name: str, directory: Path, **settings: Any) -> None:
        own = {"bootstrap_servers": broker.address, "metadata_max_age_ms": 1_000}
        super().__init__(broker.kafka, name, "secured", directory, **(own | settings))
        self.broker = broker
        for setting, value in broker.user(name).items():
            variable = setting.upper().replace(".", "_")
            self.environment[f"STREAMER_KAFKA__{variable}"] = value
        self.kafka.create(self.topic("in"), self.topic("out"), partitions=2, retention_ms="-1")

    def topic(self, name: str) -> str:
        return f"{name}-of-{self.name}"
