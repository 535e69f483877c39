"""# Restore drill, each week

Really restores snapshots, to a place of its own, and compares: each file by its hash, each row is
read, and the positions inside must be those of the manifest. Nothing that runs is touched.

- `choose` takes the tasks whose snapshots were not restored for the longest. *There is none*: run
  the DAG `snapshot_stores`.
- `restore` fetches, opens, reads, compares and removes, in units beside each other. *One is
  damaged*: it is named and loses its notes, so no trim rests on it; make new snapshots, and look
  at the repository's disk. *No room*: the form takes another directory, on the unit's host.

The same from the command line: `streamer snapshot verify --level restored --app APP`.
"""

from airflow.sdk import DAG, Param

from streamer_airflow.factory import Application, for_each_application
from streamer_airflow.operators.snapshots import CheckOperator, UnitsOperator


def build(application: Application) -> DAG:
    params = {
        "tasks": application.tasks(),
        "sample": Param(
            8,
            type="integer",
            minimum=1,
            maximum=100_000,
            title="Tasks at most",
            section="What",
            description_md="So many, those first that were not restored for the longest.",
        ),
        "level": Param(
            "restored",
            enum=["restored", "contents", "files"],
            values_display={
                "restored": "Restored: fetched, opened, each row is read",
                "contents": "Contents: each byte is read and hashed",
                "files": "Files: all are there with their sizes",
            },
            title="How thoroughly",
            section="How",
            description_md="*Restored* alone proves that a worker could start from it, and needs"
            " room for a whole task. *Contents* reads as much, without room. *Files* is a listing.",
        ),
        "directory": Param(
            "",
            type="string",
            pattern=r"^$|^/.+$",
            title="Directory",
            section="How",
            description_md="Where to restore to, for a moment, on the hosts of Airflow. Empty: the"
            " system's directory for such.",
        ),
    }
    with application.dag("restore_drill", doc=__doc__, params=params, schedule="@weekly") as dag:
        choose = UnitsOperator(task_id="choose", sample="sample")
        CheckOperator.partial(
            task_id="restore",
            directory="directory",
            again=True,
            map_index_template="{{ task.unit['name'] }}",
            **application.heavy,
        ).expand(unit=choose.output)
    return dag


globals().update(for_each_application(build))
