"""Print what forms can offer of an application, for `[streamer] choices`:

    export AIRFLOW__STREAMER__CHOICES="$(python -m streamer_airflow.choices streamer_default)"

Forms are made when a DAG's file is imported, which asks nobody: so somebody asks before. What is
typed into a form is checked against the application itself in any case.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.operator import Operator
from streamer.errors import StreamerError
from streamer.ids import TaskId
from streamer_airflow.hooks.application import ApplicationHook
from streamer_airflow.settings import Choices

__all__ = ["choices_of", "main"]


def choices_of(config: Config) -> Choices:
    """As the workers that live tell it. Raises what `Control` raises."""
    with Control(config) as control:
        tasks = control.tasks()
        workers = [each for each in control.workers() if each.is_alive]
        stores = {
            store for _worker, report in control.reports().values() for store in report.durable
        }
    with Operator(config) as operator:
        told = operator.plan()
    parts = told.outline if told is not None else ()
    repository = config.snapshot_repository
    return Choices(
        stores=tuple(sorted(stores)),
        tasks=tuple(sorted((each.task for each in tasks), key=TaskId.parse)),
        workers=tuple(each.worker for each in workers),
        zones=tuple(sorted({each.zone for each in workers if each.zone})),
        repositories=(repository,) if repository else (),
        topics=tuple(sorted({topic for part in parts for topic in part.reads})),
    )


def main(connections: list[str]) -> int:
    # Outside of tasks, which ask through their supervisor: Airflow's own way to all its backends.
    from airflow.models.connection import Connection

    found = {}
    try:
        for each in connections:
            connection = Connection.get_connection_from_secrets(each)
            found[each] = asdict(choices_of(ApplicationHook.config_from(connection)))
    except StreamerError as error:
        print(f"streamer: {error.describe()}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["streamer_default"]))
