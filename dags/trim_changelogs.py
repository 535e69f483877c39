"""# Trim changelogs, each day

Deletes from changelogs what verified snapshots, copies, restores and holds no longer need.
**What is deleted stays deleted**; what is left can be restored from the snapshots that it holds.

- `plan` looks at every changelog; its log says who holds what back. *Nothing may go*: the run ends
  here, skipped. *Another operation is at work*: it is named.
- `approve`: within its limits it goes on, else somebody is asked. *Rejected, or no
  answer*: the plan is taken out. *The world moved*: it is planned anew and asked for again.
- `apply` holds the snapshots, looks once more at who needs what, deletes, reads back. *It stops*:
  each try goes on with it, and nothing goes that anybody needs by then.
- `settle` takes it back after a failure before anything was deleted; after that it can only be
  finished: `streamer operations resume ID`.

The same from the command line: `streamer trim plan --app APP`, then
`streamer trim apply ID --app APP`; `streamer why-kept TOPIC/PARTITION` says why something stays.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.settle import SettleOperator

TAKES = ("stores", "partitions", "beyond_cap")


def build(application: Application) -> DAG:
    params = {
        "stores": application.stores(),
        "partitions": Param(
            [],
            type="array",
            items={"type": "integer", "minimum": 0},
            uniqueItems=True,
            title="Partitions",
            section="What",
            description_md="Only these partitions, one a line. None: all.",
        ),
        "beyond_cap": Param(
            False,
            type="boolean",
            title="Beyond the cap",
            section="What",
            description_md="Also more of a changelog than `trim_percent_max` allows at a time."
            " Somebody is asked then, whatever the limits are.",
        ),
        "approval": application.approval(),
        "bytes_max": application.at_most(
            "trim_bytes_max", "Bytes without a person", "The most that is deleted."
        ),
        "answer_hours": application.answer_hours(),
        "work_hours": application.work_hours(6),
    }
    with application.dag("trim_changelogs", doc=__doc__, params=params, schedule="@daily") as dag:
        plan = PlanOperator(task_id="plan", kind="trim", takes=TAKES)
        approve = OperationApproval(
            task_id="approve",
            kind="trim",
            takes=TAKES,
            limits={"bytes_max": "trim_bytes_max"},
            asks=("beyond_cap",),
            command="streamer trim apply {id} --app {application}",
        )
        apply = OperationOperator(task_id="apply", kind="trim", approved=approve.output)
        settle = SettleOperator(task_id="settle", kind="trim")
        plan >> approve >> apply
        [plan, approve, apply] >> settle.as_teardown(on_failure_fail_dagrun=True)
    return dag


globals().update(for_each_application(build))
