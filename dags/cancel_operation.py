"""# Cancel an operation

Stops an operation and takes back what it did, also where another process carries it out.

- `cancel` asks whoever carries it out to stop, waits, and undoes step by step. *It is past its
  point of no return*: refused, with what would be lost; `streamer operations show ID` says more.
  *It stops*: each try goes on.

The same from the command line: `streamer operations cancel ID --app APP`.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.settle import CancelOperator


def build(application: Application) -> DAG:
    params = {
        "operation": Param(
            "",
            type="string",
            minLength=1,
            title="Operation",
            section="What",
            description_md="Its id, as `streamer operations list` or its page shows it.",
        ),
        "why": Param(
            "",
            type="string",
            title="Why",
            section="What",
            description_md="For those who look later.",
        ),
    }
    with application.dag("cancel_operation", doc=__doc__, params=params) as dag:
        CancelOperator(task_id="cancel")
    return dag


globals().update(for_each_application(build))
