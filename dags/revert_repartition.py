"""# Revert a repartition: back to the numbers of tasks that there were before

It is another repartition: the state is copied as it is by then, so nothing that was processed since
is lost, and the application pauses for seconds once more. Topics that were grown keep their
partitions, and what is routed stays so. Somebody is always asked, and twice.

- `plan` looks whether it is possible: nothing has been recorded after it, nobody has completed it.
  *It is refused*: the message says why, and what brings the numbers back instead.
- `approve` shows what is copied, how long it takes, the pause, and what cannot be undone.
  *Rejected, or no answer*: the plan is taken out. *The world moved*: planned and asked anew.
- `copy`, `prove`, `approve_switch`, `switch`, `finish` and `settle` are those of the DAG
  `repartition`, whose page says what to do where one stops.

To stop it before the switch: the DAG `cancel_operation`, or `streamer operations cancel ID`.

The same from the command line: `streamer repartition revert ID --app APP`, then
`streamer repartition apply ID --app APP` with the id of its plan; `streamer show layout --app APP`
says all the time whether it is possible.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.repartitioning import repartition_stages


def build(application: Application) -> DAG:
    params = {
        "reverts": Param(
            "",
            type="string",
            pattern=r"^[A-Za-z0-9._-]*$",
            title="Repartition",
            section="What",
            description_md="The id of the operation that is taken back, as `streamer operations"
            " list` or its page shows it. Empty: the last one that is done.",
        ),
        "answer_hours": application.answer_hours(),
        "work_hours": application.work_hours(12),
    }
    with application.dag("revert_repartition", doc=__doc__, params=params) as dag:
        repartition_stages(application, takes=("reverts",))
    return dag


globals().update(for_each_application(build))
