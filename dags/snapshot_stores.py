"""# Snapshots of stores, each hour

Has the workers make a snapshot of each task while they go on, then reads what was made. Nothing is
deleted, so nobody is asked.

- `plan` looks which tasks there are. *Another snapshot is at work*: its id and who carries it out
  are named; wait, or look at it with `streamer operations list`.
- `make` orders the snapshots and waits; no slot is taken while workers work. *It stops*: each try
  goes on with it; `streamer operations show ID` says which task waits for what. *Its time is over*:
  it fails with what it waits for; clear the run from its first task once that is mended.
- `units`, `check` read what was made, as thoroughly as the form says, and note it. *One is
  damaged*: it is named and loses its notes, so nothing rests on it; run this again.
- `settle` takes the order back after a failure; snapshots that are finished stay.

The same from the command line: `streamer snapshot create --app APP`, then
`streamer snapshot verify --level contents --app APP`.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.snapshots import CheckOperator, UnitsOperator

TAKES = ("tasks", "stores", "repository")


def build(application: Application) -> DAG:
    params = {
        "tasks": application.tasks(),
        "stores": application.stores(),
        "repository": application.repository(),
        "level": Param(
            "contents",
            enum=["contents", "restored", "none"],
            values_display={
                "contents": "Contents: each byte is read and hashed",
                "restored": "Restored: fetched, opened, each row is read",
                "none": "Nothing more than the worker has looked at: names and sizes",
            },
            title="Check",
            section="Afterwards",
            description_md="A trim rests on snapshots whose contents were read.",
        ),
        "work_hours": application.work_hours(6),
    }
    with application.dag("snapshot_stores", doc=__doc__, params=params, schedule="@hourly") as dag:
        plan = PlanOperator(task_id="plan", kind="snapshot", takes=TAKES)
        make = OperationOperator(task_id="make", kind="snapshot", takes=TAKES)
        units = UnitsOperator(task_id="units", made=make.output)
        checked = CheckOperator.partial(
            task_id="check",
            made=make.output,
            repository="repository",
            map_index_template="{{ task.unit['name'] }}",
            **application.heavy,
        ).expand(unit=units.output)
        settle = SettleOperator(task_id="settle", kind="snapshot")
        plan >> make >> units
        [plan, make, checked] >> settle.as_teardown(on_failure_fail_dagrun=True)
    return dag


globals().update(for_each_application(build))
