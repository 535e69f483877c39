"""# Replay: compute the state once more from the input, and go on with it

The input is read again by workers of their own, from its begin or from snapshots on (*From*), while
the application goes on; they write no results, or where *Results* says. What they have computed is
compared with the live state, and takes its place in a pause of seconds. Somebody is always asked,
and twice: for the plan, and with the differences.

With *To*, only the windows that begin between *From* and it take their place; all other rows stay.
So does each run of a backfill (*Trigger*, *Backfill*): its interval is the windows to replace, and
they wait for each other.

- `plan` looks at layout, topics and workers. *It is refused*: the input does not reach back so far,
  no snapshot is old enough, or something of the application cannot be computed again: the message
  says what.
- `approve` shows what is read, how long it takes, and what cannot be undone. *Rejected, or no
  answer*: the plan is taken out.
- `read_again` runs workers with *Code*, until the replay needs them no more; without it they are
  started where the code is: `streamer replay work ID MODULE:APP`. *It is killed*: they go on.
- `replay` waits until they are near to the live application. *Nothing goes on*: its log says which
  task or whose workers it waits for.
- `copy` and `prove` copy what they have computed, have workers keep warm copies, and read it back.
- `diff` compares both states, key by key. *It takes too long*: clear it.
- `approve_switch` shows what differs, and asks before the pause. *Rejected, or no answer*: all that
  was made is taken back.
- `switch` pauses until both are at the same place, proves the rest, records the next layout. *It is
  killed*: before the record the application goes on by itself, after it the next layout holds.
- `finish` waits until all tasks run, and deletes what the other workers had.
- `settle` takes everything back after a failure before the switch; after it, it can only be
  finished: `streamer operations resume ID`.

To stop it before the switch: the DAG `cancel_operation`, or `streamer replay cancel ID`.

The same from the command line: `streamer replay plan --app APP`, for an interval with
`--from TIME --to TIME`; then
`streamer replay apply ID --app APP`; `streamer replay diff ID --app APP` compares, and
`streamer replay switch ID --app APP` goes on with it.
"""

from airflow.sdk import DAG

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.replays import DiffOperator, ReadAgainOperator, ReplayApproval
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.stages import StageOperator
from streamer_airflow.operators.turns import ReplayPlanOperator

KIND = "replay"
TAKES = ("since", "until", "stores", "outputs")
COMMAND = "streamer replay apply {id} --app {application}"
SWITCH = "streamer replay switch {id} --app {application}"
NOTE = (
    "The application goes on meanwhile. Where the form names no code, start the workers that read"
    " again once this is approved: `streamer replay work ID MODULE:APP`."
)


def build(application: Application) -> DAG:
    params = {
        "since": application.since(),
        "until": application.until(),
        "stores": application.stores(),
        "outputs": application.outputs(),
        "code": application.code(),
        "processes": application.processes(),
        "answer_hours": application.answer_hours(),
        "work_hours": application.work_hours(12),
    }
    with application.dag("replay", doc=__doc__, params=params, intervals=True) as dag:
        plan = ReplayPlanOperator(task_id="plan", kind=KIND, takes=TAKES)
        approve = OperationApproval(
            task_id="approve", kind=KIND, takes=TAKES, mode="", command=COMMAND, note=NOTE
        )
        read_again = ReadAgainOperator(
            task_id="read_again", approved=approve.output, **application.heavy
        )
        replay = StageOperator(
            task_id="replay",
            kind=KIND,
            steps=("record", "base", "replay"),
            approved=approve.output,
        )
        copy = StageOperator(
            task_id="copy",
            kind=KIND,
            steps=("topics", "copy"),
            approved=approve.output,
            **application.heavy,
        )
        prove = StageOperator(
            task_id="prove",
            kind=KIND,
            steps=("shadow", "prove"),
            approved=approve.output,
            **application.heavy,
        )
        diff = DiffOperator(task_id="diff", approved=approve.output, **application.heavy)
        approve_switch = ReplayApproval(
            task_id="approve_switch",
            approved=approve.output,
            differences=diff.output,
            step="switch",
            command=SWITCH,
        )
        switch = StageOperator(
            task_id="switch",
            kind=KIND,
            steps=("switch",),
            approved=approve_switch.output,
            **application.heavy,
        )
        finish = StageOperator(
            task_id="finish", kind=KIND, steps=("settle", "forget"), approved=approve_switch.output
        )
        settle = SettleOperator(task_id="settle", kind=KIND, beside="snapshot")
        plan >> approve >> replay >> copy >> prove >> diff >> approve_switch >> switch >> finish
        # Not `read_again`, which ends when the operation does: it is taken back before.
        stages = [plan, approve, replay, copy, prove, diff, approve_switch, switch, finish]
        stages >> settle.as_teardown(on_failure_fail_dagrun=True)
        approve >> read_again
    return dag


globals().update(for_each_application(build))
