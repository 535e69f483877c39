"""`ApplicationHook`: one application, by a connection of the type `streamer`.

with ApplicationHook("streamer_default").executor() as executor:
    print(executor.books().operations)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.topics import ControlTopics
from streamer.errors import StreamerError, TopicMissingError
from streamer.kafka.admin import Admin
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from streamer.snapshot.opening import open_repository
from streamer_airflow.hooks.connection import Described, config_of, secrets_of

__all__ = ["ApplicationHook", "executor_of"]

# Somebody looks at a form and waits. A broker that answers at all does so in less.
_TEST_S = 8.0


class ApplicationHook(BaseHook):
    """Settings, operations and the Test button of a connection."""

    conn_name_attr = "conn_id"
    default_conn_name = "streamer_default"
    conn_type = "streamer"
    hook_name = "Streamer application"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def config(self) -> Config:
        """The settings of the connection. Raises ConfigError."""
        return self.config_from(self.get_connection(self.conn_id))

    @staticmethod
    def config_from(connection: Described) -> Config:
        """The same, of a connection that was asked for already, as in a trigger."""
        for secret in secrets_of(connection):
            mask_secret(secret)
        return config_of(connection)

    @contextmanager
    def executor(self, **given: Any) -> Iterator[Executor]:
        """Plans, carries out and reads operations; `given` as of `Executor`. Raises
        TopicMissingError where no worker of the application has ever run."""
        with executor_of(self.config(), **given) as executor:
            yield executor

    def get_conn(self) -> Config:
        return self.config()

    def test_connection(self) -> tuple[bool, str]:
        """Whether it works, and what is wrong: settings, brokers, application, repository."""
        try:
            config = self.config()
        except StreamerError as error:
            return False, error.describe()
        try:
            workers = _workers(config)
            said = f"application {config.application_id}: {workers}"
            if not config.snapshot_repository:
                return True, f"{said}; no repository is set, so nothing can be snapshot or trimmed"
            with open_repository(config) as repository:
                count = len({shelf.task for shelf in repository.shelves(config.application_id)})
        except TopicMissingError as error:
            return False, (
                f"{config.bootstrap_servers} answers, but no worker of {config.application_id} has"
                f" ever run there: {error.describe()}"
            )
        except StreamerError as error:
            return False, error.describe()
        if count:
            return True, f"{said}; {config.snapshot_repository} has snapshots of {count} tasks"
        return True, (
            f"{said}; {config.snapshot_repository} has no snapshots of it yet. If it should have"
            " some, mend the address: what is not there is made by the first snapshot"
        )


@contextmanager
def executor_of(config: Config, **given: Any) -> Iterator[Executor]:
    """An executor of these settings that knows all kinds of operations."""
    with Executor(config, KafkaTable(config), all_kinds(), **given) as executor:
        yield executor


def _workers(config: Config) -> str:
    ControlTopics.find(config, Admin(config, timeout_s=_TEST_S))
    with Control(config, reads_assignments=False) as control:
        known = control.workers()
    alive = sum(each.is_alive for each in known)
    return f"{alive} of {len(known)} known workers live"
