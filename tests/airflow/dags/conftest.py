"""Runs of DAGs in this process, against a real broker and a real application's workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from tests.airflow.dags.answering import Answers, answering
from tests.broker.conftest import (  # noqa: F401
    Kafka,
    application,
    broker,
    kafka,
    names,
    sandbox,
)
from tests.broker.workers import ROOT, Application

CONNECTION = "AIRFLOW_CONN_STREAMER_DEFAULT"
STORES = ("totals", "closed", "every")


class Runs:
    """An application, its connection, and runs of DAGs for it."""

    def __init__(self, made: Application, bag: Any) -> None:
        self.made = made
        self.bag = bag
        self.repository = str(made.settings["snapshot_repository"])
        self.config = Config(
            application_id=made.name,
            bootstrap_servers=made.kafka.bootstrap_servers,
            snapshot_repository=self.repository,
        )

    @property
    def connection(self) -> str:
        return json.dumps(
            {
                "conn_type": "streamer",
                "host": self.made.kafka.bootstrap_servers,
                "extra": {
                    "application": self.made.name,
                    "repository": self.repository,
                    # All that nobody needs: tests have small changelogs.
                    "settings": {"trim_percent_max": 100},
                },
            }
        )

    def run(
        self, dag: str, *, at: datetime | None = None, answers: Answers | None = None, **conf: Any
    ) -> Any:
        """One run, to its end; `at` of an earlier one runs that again, as clearing it does."""
        at = at or datetime.now(tz=UTC)
        with answering(answers or {}):
            return self.bag.dags[dag].test(run_after=at, logical_date=at, run_conf=conf)

    def again_from(self, dag: str, task: str, *, at: datetime) -> Any:
        """The run of `at` once more, after one of its tasks is cleared with those below it: the
        way that `DAG.test` goes, but for the run, which it would make anew. Nobody is asked."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState
        from sqlalchemy import select

        def cleared(*, dag: Any, logical_date: datetime, session: Any, **_given: Any) -> Any:
            run = session.scalar(
                select(DagRun).where(
                    DagRun.dag_id == dag.dag_id, DagRun.logical_date == logical_date
                )
            )
            part = dag.partial_subset([task], include_upstream=False, include_downstream=True)
            part.clear(run_id=run.run_id, dag_run_state=DagRunState.RUNNING, session=session)
            run.set_state(DagRunState.RUNNING)
            run.dag = dag
            session.commit()
            return run

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("airflow.models.dagrun.get_or_create_dagrun", cleared)
            everything = "airflow.serialization.definitions.dag.SerializedDAG.clear_dags"
            patched.setattr(everything, lambda *_given, **_named: 0)
            with answering({}):
                return self.bag.dags[dag].test(run_after=at, logical_date=at)

    def killed(
        self,
        dag: str,
        failpoint: str,
        *,
        at: datetime,
        answers: Mapping[str, str] | None = None,
        **conf: Any,
    ) -> int:
        """The same in a process that is killed at a failpoint; its exit code."""
        command = [sys.executable, "-m", "tests.airflow.dags.once", dag, at.isoformat()]
        done = subprocess.run(
            [*command, json.dumps(conf), json.dumps(answers or {}), failpoint],
            cwd=ROOT,
            env={
                **os.environ,
                CONNECTION: self.connection,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            },
            capture_output=True,
            timeout=440,
            check=False,
        )
        print(done.stdout.decode()[-3_000:], done.stderr.decode()[-3_000:])
        return done.returncode

    def operations(self) -> dict[str, OperationRecord]:
        with self.executor() as executor:
            return dict(executor.books().operations)

    def executor(self, **given: Any) -> Executor:
        return Executor(self.config, KafkaTable(self.config), all_kinds(), **given)

    def send(self, rounds: range) -> None:
        """Records of so many rounds, each processed before the next."""
        for number in rounds:
            records = [(f"key-{key:03}", json.dumps(number * 1_000 + key)) for key in range(40)]
            self.made.kafka.produce(
                self.made.topic("in"), records, timestamp_ms=lambda _at, at=number: at * 1_000
            )
            self.made.wait_until_done(timeout=360, watch=self.made.workers)


def states(run: Any) -> dict[str, str]:
    """The states of a run's tasks; mapped ones as `task[0]`."""
    found = {}
    for one in run.get_task_instances():
        mapped = f"[{one.map_index}]" if one.map_index >= 0 else ""
        found[f"{one.task_id}{mapped}"] = str(one.state)
    return found


def xcom(run: Any, task: str, index: int = -1) -> Any:
    """What a task has given to the next one; of a mapped one by its `index`."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    query = XComModel.get_many(
        run_id=run.run_id,
        key="return_value",
        task_ids=task,
        dag_ids=run.dag_id,
        map_indexes=index,
    )
    with create_session() as session:
        return XComModel.deserialize_value(session.execute(query).scalars().one())


@pytest.fixture
def runs(
    application: Callable[..., Application],  # noqa: F811
    bag: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Runs]:
    """Makes an application with a repository, and the connection to it."""

    def make(module: str = "counts", **given: Any) -> Runs:
        # As tests/broker/trims.py has it.
        settings = {"outputs": STORES, "snapshot_repository": f"file://{tmp_path}/0/repository"}
        found = Runs(application(module, **{**settings, **given}), bag)
        monkeypatch.setenv(CONNECTION, found.connection)
        return found

    return make
