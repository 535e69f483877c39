"""The fields of a connection's form: what each is called, and which setting it stands for.

The one place that knows: the form, the way from a connection to settings, and the way back are made
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FIELDS", "Field", "kafka_fields", "setting_fields"]


@dataclass(frozen=True, slots=True)
class Field:
    """`setting` is the setting it stands for, `kafka` the property of Kafka's client, with other
    names of it that people use. `format` and `choices` are for the form."""

    label: str
    description: str
    setting: str = ""
    kafka: tuple[str, ...] = ()
    format: str = ""
    choices: tuple[str, ...] = ()

    @property
    def is_secret(self) -> bool:
        return self.format == "password"


FIELDS: Mapping[str, Field] = {
    "application": Field("Application", "Its id, as in App(...)."),
    "security_protocol": Field(
        "Security protocol",
        "How brokers are spoken to. With SASL, login and password are used.",
        kafka=("security.protocol",),
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    ),
    "sasl_mechanism": Field(
        "SASL mechanism",
        "As the brokers have it.",
        kafka=("sasl.mechanism", "sasl.mechanisms"),
        choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    ),
    "ssl_ca_location": Field(
        "CA certificates",
        "File on the hosts of Airflow, where brokers have one of their own.",
        kafka=("ssl.ca.location",),
    ),
    "repository": Field(
        "Snapshot repository",
        "The workers' snapshot_repository: file:///path, s3://bucket/prefix or"
        " ssh://user@host/path.",
        setting="snapshot_repository",
    ),
    "repository_access_key": Field(
        "S3 access key",
        "Empty: the usual chain of the host that runs the task.",
        setting="snapshot_s3_access_key",
    ),
    "repository_secret_key": Field(
        "S3 secret key",
        "Of that access key.",
        setting="snapshot_s3_secret_key",
        format="password",
    ),
    "repository_endpoint": Field(
        "S3 endpoint", "Of a server other than Amazon's.", setting="snapshot_s3_endpoint"
    ),
    "ssh_key": Field(
        "SSH key", "File on the hosts of Airflow, for ssh://.", setting="snapshot_ssh_key"
    ),
    "ssh_known_hosts": Field(
        "SSH known hosts",
        "File on the hosts of Airflow, for ssh://.",
        setting="snapshot_ssh_known_hosts",
    ),
    "settings": Field(
        "Other settings",
        'JSON: any other setting by its name, such as {"trim_snapshots_min": 3}.',
        format="multiline",
    ),
    "secret_settings": Field(
        "Secret settings",
        'The same of what nobody may read here, such as {"kafka": {"ssl.key.password": "..."}}.',
        format="password",
    ),
}


def setting_fields() -> dict[str, str]:
    """The field by the setting that it stands for."""
    return {field.setting: name for name, field in FIELDS.items() if field.setting}


def kafka_fields() -> dict[str, str]:
    """The field by each property of Kafka's client that it stands for."""
    return {kafka: name for name, field in FIELDS.items() for kafka in field.kafka}
