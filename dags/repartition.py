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

To stop it before the switch: the DAG `cancel_operation`, or `streamer operations cancel ID`. To go
back after it: the DAG `revert_repartition`.

The same from the command line: `streamer repartition plan purchases=12 --app APP`, then
`streamer repartition apply ID --app APP`; `streamer repartition status --app APP` says how far it
is.
"""

from airflow.sdk import DAG

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.repartitioning import repartition_stages


def build(application: Application) -> DAG:
    params = {
        "tasks_of": application.numbers_of_tasks(),
        "mode": application.mode(),
        "answer_hours": application.answer_hours(),
        "work_hours": application.work_hours(12),
    }
    with application.dag("repartition", doc=__doc__, params=params) as dag:
        repartition_stages(application, takes=("tasks_of", "mode"))
    return dag


globals().update(for_each_application(build))
