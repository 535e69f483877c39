"""One run of a DAG in a process of its own, which a test kills."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime


def main(dag: str, at: str, conf: str, answers: str, failpoint: str) -> int:
    from airflow.dag_processing.dagbag import DagBag

    from streamer import failpoints
    from tests.airflow.dags.answering import answering

    failpoints.arm(failpoint)
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], bundle_name="dags-folder")
    when = datetime.fromisoformat(at)
    with answering(json.loads(answers)):
        run = bag.dags[dag].test(run_after=when, logical_date=when, run_conf=json.loads(conf))
    return 0 if run.state == "success" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
