"""What Airflow is told of this package: its type of connection, its links, its configuration."""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["string", "null"], **schema},
    }


_FIELDS = {
    "application": {
        "label": "Application",
        "description": "Its id, as in App(...).",
        "schema": {"type": "string", "minLength": 1},
    },
    "security_protocol": _field(
        "Security protocol",
        "How brokers are spoken to. With SASL, login and password are used.",
        enum=["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", None],
        default=None,
    ),
    "sasl_mechanism": _field(
        "SASL mechanism",
        "As the brokers have it.",
        enum=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", None],
        default=None,
    ),
    "ssl_ca_location": _field(
        "CA certificates", "File on the hosts of Airflow, where brokers have one of their own."
    ),
    "repository": _field(
        "Snapshot repository",
        "The workers' snapshot_repository: file:///path, s3://bucket/prefix or"
        " ssh://user@host/path.",
    ),
    "repository_access_key": _field(
        "S3 access key", "Empty: the usual chain of the host that runs the task."
    ),
    "repository_secret_key": _field("S3 secret key", "Of that access key.", format="password"),
    "repository_endpoint": _field("S3 endpoint", "Of a server other than Amazon's."),
    "ssh_key": _field("SSH key", "File on the hosts of Airflow, for ssh://."),
    "ssh_known_hosts": _field("SSH known hosts", "File on the hosts of Airflow, for ssh://."),
    "settings": _field(
        "Other settings",
        'JSON: any other setting by its name, such as {"trim_snapshots_min": 3}.',
        format="multiline",
    ),
}

_OPTIONS = {
    "connections": (
        "Connections of the type streamer, separated by commas. Each gets all DAGs.",
        "streamer_default",
    ),
    "schedules": ("Whether DAGs run by their schedules; off, they run when triggered.", "False"),
    "heavy_queue": (
        "Queue of tasks that read whole snapshots. Empty: the default queue.",
        "",
    ),
    "trim_bytes_max": (
        "The most that a trim deletes without a person, such as 10GiB; a form only lowers it. 0:"
        " always ask. With __CONNECTION behind the name it is that connection's, as for the next.",
        "10GiB",
    ),
    "rebalance_bytes_max": ("The most that a rebalance moves without a person.", "50GiB"),
    "rebalance_tasks_max": ("The most tasks that change without a person.", "50"),
    "choices": (
        "JSON by connection: what forms offer of an application. `python -m"
        " streamer_airflow.choices CONNECTION` prints it.",
        "",
    ),
}


def get_provider_info() -> dict[str, Any]:
    """As Airflow's provider_info.schema.json has it. The name is that of the distribution."""
    return {
        "package-name": "streamer",
        "name": "Streamer",
        "description": "Snapshots, rebuilds, trims and rebalances of Streamer applications.",
        "connection-types": [
            {
                "connection-type": "streamer",
                "hook-class-name": "streamer_airflow.hooks.application.ApplicationHook",
                "hook-name": "Streamer application",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {
                        "host": "Bootstrap servers",
                        "login": "SASL user name",
                        "password": "SASL password",
                    },
                    "placeholders": {"host": "k1.example.com:9092,k2.example.com:9092"},
                },
                "conn-fields": _FIELDS,
            }
        ],
        "extra-links": ["streamer_airflow.links.OperationLink"],
        "config": {
            "streamer": {
                "description": "DAGs of Streamer.",
                "options": {
                    name: {
                        "description": description,
                        "type": "boolean" if name == "schedules" else "string",
                        "version_added": None,
                        "example": None,
                        "default": default,
                    }
                    for name, (description, default) in _OPTIONS.items()
                },
            }
        },
    }
