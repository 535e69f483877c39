"""One DAG for each application: what the files in `dags/` share.

    def build(application: Application) -> DAG: ...

    globals().update(for_each_application(build))

Applications are the connections that `[streamer] connections` names. Nothing is asked of anybody
when a file is imported: neither Airflow's database, nor a connection, nor Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param

from streamer_airflow.intervals import configured
from streamer_airflow.limits import most
from streamer_airflow.operators.operation import RETRIES, RETRY_DELAY
from streamer_airflow.settings import (
    DEFAULT,
    Choices,
    choices,
    connections,
    has_schedules,
    heavy_queue,
)

__all__ = ["Application", "for_each_application"]

# Any day: what lies between it and today is never made up for.
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# A backfill has no interval before it.
_BEGIN_OF_BACKFILLS = datetime(2000, 1, 1, tzinfo=UTC)
# Each of them but one is refused by its first task, or waits for an answer.
_RUNS_BY_HAND = 8
# A form is read by people; a large application has thousands of tasks.
_LISTED_MAX = 30


@dataclass(frozen=True, slots=True)
class Application:
    """An application by its connection, and what its forms offer."""

    conn_id: str
    choices: Choices

    def dag(
        self,
        name: str,
        *,
        doc: str,
        params: dict[str, Param],
        schedule: str | None = None,
        intervals: bool = False,
        **given: Any,
    ) -> DAG:
        """A DAG of this application: `name` for the connection streamer_default, and the
        connection's behind it for others. One run at a time where it has a schedule, whose runs
        wait for each other; what people trigger is refused by the application's own lock, at once
        and with who holds it. With `intervals` Airflow's dialog for backfills makes runs of it."""
        timetable = configured() if intervals else None
        return DAG(
            name if self.conn_id == DEFAULT else f"{name}__{self.conn_id}",
            description=doc.strip().splitlines()[0].strip("# ."),
            doc_md=doc,
            schedule=timetable or (schedule if has_schedules() else None),
            start_date=_BEGIN_OF_BACKFILLS if intervals else _BEGIN,
            catchup=False,
            max_active_runs=1 if schedule else _RUNS_BY_HAND,
            # What is triggered by hand shall run; schedules have a switch of their own.
            is_paused_upon_creation=False,
            params=params,
            tags=["streamer", self.conn_id],
            default_args={
                "conn_id": self.conn_id,
                "owner": "streamer",
                # Of mapped tasks too, to which defaults of operators do not come.
                "retries": RETRIES,
                "retry_delay": RETRY_DELAY,
            },
            # No limit of the run: it would skip all that is left, also what takes back what was
            # done. Each task has its own, and what waits for a person has one.
            **given,
        )

    @property
    def heavy(self) -> dict[str, Any]:
        """Arguments of tasks that read whole snapshots, or copy changelogs."""
        queue = heavy_queue()
        return {"queue": queue} if queue else {}

    # -- fields of forms ---------------------------------------------------------------------------

    def tasks(self, *, at_least: int = 0) -> Param:
        return Param(
            [],
            type="array",
            items={"type": "string", "pattern": r"^\d+_\d+$"},
            uniqueItems=True,
            minItems=at_least,
            title="Tasks",
            section="What",
            description_md="Tasks such as `0_3`, one a line. "
            + ("At least one." if at_least else "None: all.")
            + f" {_listed('tasks', self.choices.tasks)}",
        )

    def stores(self) -> Param:
        return Param(
            [],
            type="array",
            items={"type": "string", "minLength": 1},
            uniqueItems=True,
            title="Stores",
            section="What",
            description_md="Only of these stores, one a line. None: all. "
            + _listed("stores", self.choices.stores),
        )

    def numbers_of_tasks(self) -> Param:
        return Param(
            [],
            type="array",
            items={"type": "string", "pattern": r"^[A-Za-z0-9._-]+=[1-9][0-9]{0,5}$"},
            uniqueItems=True,
            minItems=1,
            title="Numbers of tasks",
            section="What",
            description_md="A topic and how many tasks are to read it, such as `purchases=12`, one"
            " a line; or a subtopology by its number, such as `0=12`. "
            + _listed("layout", self.choices.topics),
        )

    def mode(self) -> Param:
        return Param(
            "auto",
            enum=["auto", "fold", "grow", "routed"],
            values_display={
                "auto": "What changes least",
                "fold": "Fold: topics stay as they are",
                "grow": "Grow: topics get more partitions, for good",
                "routed": "Routed: by way of topics of the application's own, for good",
            },
            title="How",
            section="What",
            description_md="*What changes least* folds, and grows a topic only for more tasks than"
            " it has partitions. The plan says which, and you are asked.",
        )

    def code(self) -> Param:
        return Param(
            "",
            type="string",
            pattern=r"^$|^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
            title="Code",
            section="What",
            description_md="`MODULE:APP` of the code that computes it, where Airflow's workers can"
            " import it: the task `read_again` runs it. Empty: start workers yourself, where the"
            " code is: `streamer replay work ID MODULE:APP`.",
        )

    def since(self) -> Param:
        return _time(
            "From",
            "A time such as `2026-01-31T12:00Z`: begin with the newest snapshots made by then."
            " Empty: with the begin of the input, or in a backfill of the interval.",
        )

    def until(self) -> Param:
        return _time(
            "To",
            "A time: no more than the windows that begin at *From* or later and before this are"
            " computed, all other rows stay as they are. Empty: everything, up to now; or in a"
            " backfill up to the end of the interval.",
        )

    def outputs(self) -> Param:
        return Param(
            "off",
            enum=["off", "side", "on"],
            values_display={
                "off": "Nowhere: those who read them have them already",
                "side": "To topics of their own, `TOPIC.OPERATION`",
                "on": "Where they always go, with a header `streamer-replay`: nothing takes them"
                " back",
            },
            title="Results",
            section="What",
            description_md="Of what is read again.",
        )

    def processes(self) -> Param:
        return Param(
            1,
            type="integer",
            minimum=1,
            maximum=64,
            title="Processes",
            section="What",
            description_md="Of *Code*, on one host; each uses a core.",
        )

    def worker(self) -> Param:
        return Param(
            "",
            type="string",
            **_offered(self.choices.workers),
            title="Worker",
            section="What",
            description_md="Whose copy it is. Empty: one that has failed, or the first by name. "
            + _listed("workers", self.choices.workers),
        )

    def zone(self) -> Param:
        return Param(
            "",
            type="string",
            pattern=r"^$|^[^=,\s]+=[^=,\s]+(,[^=,\s]+=[^=,\s]+)*$",
            **_offered(self.choices.zones),
            title="Zone",
            section="What",
            description_md="Only a copy of a worker in this zone, by its tags, such as `az=eu-1`."
            " Empty: in any. " + _listed("workers", self.choices.zones),
        )

    def repository(self) -> Param:
        return Param(
            "",
            type="string",
            pattern=r"^$|^(file|s3|ssh)://.+$",
            **_offered(self.choices.repositories),
            title="Repository",
            section="Where",
            description_md="`file:///path`, `s3://bucket/prefix` or `ssh://user@host/path`. Empty:"
            " the workers' own.",
        )

    def approval(self) -> Param:
        return Param(
            "automatic",
            enum=["automatic", "ask"],
            values_display={
                "automatic": "Automatic within the limits, else ask",
                "ask": "Always ask",
            },
            title="Approval",
            section="Approval",
            description_md="Who lets it happen.",
        )

    def work_hours(self, hours: float) -> Param:
        return Param(
            hours,
            type="number",
            minimum=0.1,
            maximum=168,
            title="Hours for the work",
            section="Limits",
            description_md="In all tries together; three times what the plan expects, where that is"
            " longer. After it the run fails, and what can be taken back is taken back.",
        )

    def answer_hours(self) -> Param:
        return Param(
            12,
            type="number",
            minimum=0.1,
            maximum=168,
            title="Hours to answer",
            section="Approval",
            description_md="No answer in this time is a rejection: nothing is changed.",
        )

    def at_most(self, option: str, title: str, what: str) -> Param:
        """How much goes without a person: what `[streamer] OPTION` allows, or less."""
        allowed = most(option, self.conn_id)
        return Param(
            allowed,
            type="integer",
            minimum=0,
            maximum=allowed,
            title=title,
            section="Approval",
            description_md=f"{what} Above it somebody is asked. 0: always ask. More than"
            f" {allowed:,} only `[streamer] {option}` allows, in Airflow's configuration.",
        )


def for_each_application(build: Callable[[Application], DAG]) -> dict[str, DAG]:
    """DAGs by their ids, to be put into a file's globals."""
    made = [build(Application(each, choices(each))) for each in connections()]
    return {dag.dag_id: dag for dag in made}


def _time(title: str, description: str) -> Param:
    return Param(
        "",
        type="string",
        pattern=r"^$|^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})$",
        title=title,
        section="What",
        description_md=description,
    )


def _offered(known: Sequence[str]) -> dict[str, Any]:
    """Suggestions beside a line of text: what is typed in may be newer than what was told. Of a
    list Airflow would take nothing but these, so lists have theirs in words."""
    return {"examples": list(known)} if known else {}


def _listed(what: str, known: Sequence[str]) -> str:
    """How to list them, and those that were told when the form was made."""
    told = ", ".join(f"`{each}`" for each in known[:_LISTED_MAX])
    more = f" and {len(known) - _LISTED_MAX:,} more" if len(known) > _LISTED_MAX else ""
    how = f"`streamer show {what} --app APP` lists them"
    return f"{how}; when this form was made: {told}{more}." if told else f"{how}."
