"""# Rebalance zones, looked at every 15 minutes

Workers that come and go are placed by themselves. This acts on what drifts meanwhile: copies that
could be in better zones, a worker that carries far more than its share. Nothing is dropped before
others are warm, so nothing pauses.

- `propose` has the controller compute a placement, and goes on only if it mends a violation, or the
  form says so. *No controller answers*: `streamer show workers` says whether there is one.
- `approve`: within its limits it goes on, else somebody is asked. *Rejected, or no
  answer*: nothing is moved. *Another proposal since*: asked again.
- `apply` has exactly that placement adopted, and waits for the last move without a slot. *The
  placement was not as it was*: nothing is moved, and the next run looks again. *Somebody stopped
  the moves*: no try asks for them again.

The same from the command line: `streamer rebalance plan --app APP`, then
`streamer rebalance apply ID --app APP`; `streamer rebalance stop` leaves every task where it is.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.rebalance import (
    ProposeOperator,
    RebalanceApproval,
    RebalanceOperator,
)


def build(application: Application) -> DAG:
    params = {
        "always": Param(
            False,
            type="boolean",
            title="Without a violation too",
            section="When",
            description_md="Move also where nothing is violated and the placement could be better.",
        ),
        "spread_percent_max": Param(
            30,
            type="integer",
            minimum=0,
            maximum=1000,
            title="Above its share",
            section="When",
            description_md="A worker that carries so many per cent more than its share is a"
            " violation.",
        ),
        "approval": application.approval(),
        "bytes_max": application.at_most(
            "rebalance_bytes_max", "Bytes without a person", "The most that is moved."
        ),
        "tasks_max": application.at_most(
            "rebalance_tasks_max", "Tasks without a person", "The most tasks that change."
        ),
        "answer_hours": application.answer_hours(),
        "moves_hours": Param(
            12,
            type="number",
            minimum=0.1,
            maximum=168,
            title="Hours for the moves",
            section="Afterwards",
            description_md="In all tries together. After it the run fails; moves go on.",
        ),
    }
    with application.dag(
        "rebalance_zones", doc=__doc__, params=params, schedule="*/15 * * * *"
    ) as dag:
        propose = ProposeOperator(task_id="propose")
        approve = RebalanceApproval(task_id="approve")
        apply = RebalanceOperator(task_id="apply", approved=approve.output)
        propose >> approve >> apply
    return dag


globals().update(for_each_application(build))
