"""# Make copies of tasks anew

The worker that keeps the copy goes on with the old one until the new one is there, then reads the
rest of the changelogs. Started by hand, for one task or several.

- `targets` makes one unit for each task of the form.
- `plan` chooses the worker and says what would be done. *It is refused*: no worker keeps a copy of
  the task, or none in that zone; or a rebuild of it is at work, which is named.
- `approve` shows the plans, and asks if the form says so. *No answer in time*: they are taken out.
- `rebuild` orders it and waits until the copy is warm; no slot is taken while the worker works.
  *It stops*: each try goes on with it, and the old copy serves meanwhile.
- `settle` takes the orders back after a failure; a copy that was made anew stays.

The same from the command line: `streamer rebuild --task 0_3 --app APP`.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.targets import TargetsOperator

TAKES = ("worker", "zone", "source")


def build(application: Application) -> DAG:
    params = {
        "tasks": application.tasks(at_least=1),
        "worker": application.worker(),
        "zone": application.zone(),
        "source": Param(
            "auto",
            enum=["auto", "s3", "ssh", "file", "active", "changelog"],
            values_display={
                "auto": "Whichever is sooner",
                "s3": "The repository in S3",
                "ssh": "The repository over SSH",
                "file": "The repository in a directory",
                "active": "The disk of the active worker",
                "changelog": "The changelogs alone",
            },
            title="Source",
            section="Where",
            description_md="Where the new copy comes from.",
        ),
        "approval": application.approval(),
        "answer_hours": application.answer_hours(),
        "work_hours": application.work_hours(12),
    }
    with application.dag("rebuild_standby", doc=__doc__, params=params) as dag:
        targets = TargetsOperator(task_id="targets")
        plan = PlanOperator.partial(
            task_id="plan",
            kind="rebuild",
            takes=TAKES,
            map_index_template="task {{ task.wanted['task'] }}",
        ).expand(wanted=targets.output)
        approve = OperationApproval(
            task_id="approve",
            kind="rebuild",
            takes=TAKES,
            stages=targets.output,
            command="streamer operations show {id} --app {application}",
        )
        rebuild = OperationOperator.partial(
            task_id="rebuild",
            kind="rebuild",
            map_index_template="task {{ task.approved['stage'] }}",
        ).expand(approved=approve.output)
        settle = SettleOperator(task_id="settle", kind="rebuild", stages=targets.output)
        plan >> approve
        [plan, approve, rebuild] >> settle.as_teardown(on_failure_fail_dagrun=True)
    return dag


globals().update(for_each_application(build))
