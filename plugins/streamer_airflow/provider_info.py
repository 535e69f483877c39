"""What Airflow is told of this package: its type of connection, its links, its configuration."""

from __future__ import annotations

from typing import Any

from streamer_airflow.fields import FIELDS, Field

__all__ = ["get_provider_info"]


def _described(name: str, field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["string", "null"]}
    if name == "application":
        schema = {"type": "string", "minLength": 1}
    if field.choices:
        schema |= {"enum": [*field.choices, None], "default": None}
    if field.format:
        schema["format"] = field.format
    return {"label": field.label, "description": field.description, "schema": schema}


_OPTIONS = {
    "connections": (
        "Connections of the type streamer, separated by commas. Each gets all DAGs.",
        "streamer_default",
    ),
    "schedules": ("Whether DAGs run by their schedules; off, they run when triggered.", "False"),
    "replay_interval": (
        "How long the intervals of a backfill of the DAG replay are, as cron has it: of their"
        " windows each is computed once more by itself.",
        "@daily",
    ),
    "heavy_queue": (
        "Queue of tasks that read whole snapshots or copy changelogs. Empty: the default queue.",
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
        "description": "Snapshots, rebuilds, trims, rebalances, repartitions and replays of"
        " Streamer applications.",
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
                "conn-fields": {name: _described(name, field) for name, field in FIELDS.items()},
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
