"""# Repartition: change the number of tasks while the application runs

The state is copied beside the application, which then pauses for seconds. Somebody is always asked,
and twice: for the plan, and right before the pause.

- `plan` looks at layout, topics and workers; a number above the topics' partitions gives them more,
  for good. *It is refused*: the number does not divide them, changelogs were trimmed, another
  operation is at work: the message says which.
- `approve` shows what is copied, how long it takes, the pause, and what cannot be undone.
  *Rejected, or no answer*: the plan is taken out. *The world moved*: planned and asked anew.
- `copy` makes the topics of the next layout and copies the changelogs; the application goes on.
- `prove` has workers keep warm copies, reads all back and compares. *It differs*: nothing is
  switched. `copy` and `prove`: *it stops*: each try goes on with it.
- `approve_switch` says what was done, and asks before the pause. *Rejected, or no answer*: what was
  made is taken back. *The switch was made already*, as by a try that was killed: it asks nothing.
- `switch` copies what came since, pauses, proves the rest, and records the next layout. *It is
  killed*: before the record the application goes on by itself, after it the next layout holds.
- `finish` waits until all tasks of the next layout run, and takes away what only this needed.
- `settle` takes everything back after a failure before the switch; after it, it can only be
  finished: `streamer operations resume ID`.

To stop it before the switch: the DAG `cancel_operation`, or `streamer operations cancel ID`.

The same from the command line: `streamer repartition plan purchases=12 --app APP`, then
`streamer repartition apply ID --app APP`; `streamer repartition status --app APP` says how far it
is.
"""

from airflow.sdk import DAG

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.stages import StageOperator, SwitchApproval

TAKES = ("tasks_of", "mode")
COMMAND = "streamer repartition apply {id} --app {application}"
NOTE = (
    "Until the operation is done and the former layout is deleted, brokers and workers keep this"
    " state twice. Right before the pause you are asked once more."
)


def build(application: Application) -> DAG:
    params = {
        "tasks_of": application.numbers_of_tasks(),
        "mode": application.mode(),
        "answer_hours": application.answer_hours(),
        "work_hours": application.work_hours(12),
    }
    with application.dag("repartition", doc=__doc__, params=params) as dag:
        plan = PlanOperator(task_id="plan", kind="repartition", takes=TAKES)
        approve = OperationApproval(
            task_id="approve",
            kind="repartition",
            takes=TAKES,
            mode="",
            command=COMMAND,
            note=NOTE,
        )
        copy = StageOperator(
            task_id="copy",
            kind="repartition",
            steps=("record", "topics", "copy"),
            approved=approve.output,
            **application.heavy,
        )
        prove = StageOperator(
            task_id="prove",
            kind="repartition",
            steps=("shadow", "prove"),
            approved=approve.output,
            **application.heavy,
        )
        approve_switch = SwitchApproval(
            task_id="approve_switch", approved=approve.output, step="switch", command=COMMAND
        )
        switch = StageOperator(
            task_id="switch",
            kind="repartition",
            steps=("switch",),
            approved=approve_switch.output,
            **application.heavy,
        )
        finish = StageOperator(
            task_id="finish",
            kind="repartition",
            steps=("settle",),
            approved=approve_switch.output,
        )
        settle = SettleOperator(task_id="settle", kind="repartition")
        plan >> approve >> copy >> prove >> approve_switch >> switch >> finish
        [plan, approve, copy, prove, approve_switch, switch, finish] >> settle.as_teardown(
            on_failure_fail_dagrun=True
        )
    return dag


globals().update(for_each_application(build))
