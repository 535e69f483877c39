"""A task that is killed anywhere in its stage: the next try attaches, and nothing is done twice.

Each write of a record, each claim of the lock and each side effect is a moment to die at, as in
tests/unit/operations/test_kills.py; here it is Airflow's tasks that die, with all that they know.
Real processes of real runs are killed in tests/airflow/dags.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskAwaitingInput

from streamer import failpoints
from streamer.config import Config
from streamer.ids import TaskId
from streamer.operations.fake import FakeTable
from streamer.operations.lock import LEASE_MS
from streamer.restore import checking
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.create import create
from streamer.snapshot.opening import open_repository
from streamer.snapshot.verified import verified
from streamer.testing.kills import check_kills
from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.operation import OperationOperator, PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.snapshots import CheckOperator
from streamer_airflow.operators.stages import StageOperator, SwitchApproval
from streamer_airflow.runs import Asked
from tests.airflow.unit.rig import Rig, context
from tests.unit.operations.shelf import Warehouse
from tests.unit.snapshot.rig import ABOUT, checkpoint, content

NAME = Asked("shelve", "dag", "run").operation()
FORM = {"boxes": ["a", "b"], "approval": "ask", "answer_hours": 12}
PUTS = ("test.before_put", "test.after_put")
INSIDE = "test.inside"


class Stage:
    """A `Scene` of one task of a run, with what the tasks before it have done."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        run: Callable[[], None],
        *,
        before: Callable[[Rig], None] = lambda _rig: None,
    ) -> None:
        self.rig = Rig(Warehouse(), monkeypatch)
        before(self.rig)
        self.rig.warehouse.shelf.inside = lambda _box: failpoints.hit(INSIDE)
        self._run = run

    def execute(self) -> None:
        self._run()

    def cancel(self) -> None:
        raise AssertionError("tasks are killed and tried again here; nobody cancels")

    def lapse(self) -> None:
        self.rig.warehouse.clock.advance(2 * LEASE_MS)

    def end(self) -> object:
        """All that there is, in Kafka and on the shelf; no times, nor how often it was tried."""
        warehouse = self.rig.warehouse
        books = warehouse.executor().books()
        known = {
            name: (record.state, record.plan_id, [(step.id, step.state) for step in record.steps])
            for name, record in books.operations.items()
        }
        return known, dict(books.cancels), warehouse.shelf.end()


@pytest.fixture(autouse=True)
def _points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans and wishes are written without the lock: so are these moments to die at."""
    monkeypatch.setattr(failpoints, "NAMES", failpoints.NAMES | {*PUTS, INSIDE})
    put = FakeTable.put

    def hit(table: FakeTable, key: str, value: bytes | None) -> None:
        failpoints.hit(PUTS[0])
        put(table, key, value)
        failpoints.hit(PUTS[1])

    monkeypatch.setattr(FakeTable, "put", hit)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    def check(run: Callable[[], None], points: Collection[str], **given: Any) -> list[Any]:
        return check_kills(lambda: Stage(monkeypatch, run, **given), points)

    return check


def plan() -> None:
    PlanOperator(task_id="plan", kind="shelve", takes=("boxes",)).execute(context(**FORM))


def approve(chosen: str) -> list[dict[str, Any]]:
    """A try: it asks, and somebody answers."""
    operator = OperationApproval(task_id="approve", kind="shelve", takes=("boxes",))
    with pytest.raises(TaskAwaitingInput) as parked:
        operator.execute(context(**FORM))
    assert parked.value.kwargs is not None
    event = {
        "chosen_options": [chosen],
        "params_input": {},
        "responded_at": datetime.now(tz=UTC),
        "responded_by_user": {"id": "ann", "name": "ann"},
    }
    said: list[dict[str, Any]] = operator.execute_complete(
        context(**FORM), event, shown=parked.value.kwargs["shown"]
    )
    return said


def reject() -> None:
    with pytest.raises(AirflowFailException, match="rejected by ann; nothing was changed"):
        approve("Reject")


def carry_out(approved: Any = None) -> None:
    operator = OperationOperator(
        task_id="make", kind="shelve", takes=("boxes",), approved=approved, deferrable=False
    )
    assert operator.execute(context(**FORM))["state"] == "done"


def settle() -> None:
    SettleOperator(task_id="settle", kind="shelve").execute(context())


def planned(_rig: Rig) -> None:
    plan()


def failed(rig: Rig) -> None:
    """A run whose first step was done, and whose second one has failed."""

    def fails(box: str) -> None:
        if box == "b":
            raise OSError("the lift is broken")

    plan()
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException, match="lift is broken"):
        carry_out()
    assert rig.warehouse.shelf.boxes == {"a": NAME}


def test_a_plan_is_written_once(killed: Callable[..., list[Any]]) -> None:
    assert len(killed(plan, PUTS)) == 2


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> None:
    hitl = "airflow.providers.standard.operators.hitl"
    monkeypatch.setattr(f"{hitl}.upsert_hitl_detail", lambda **_given: None)


@pytest.mark.parametrize("before", [planned, lambda _rig: None])
def test_a_plan_is_approved_once(
    killed: Callable[..., list[Any]], questions: None, before: Callable[[Rig], None]
) -> None:
    points = () if before is planned else PUTS
    tried = killed(lambda: approve("Approve"), points, before=before)
    assert len(tried) == len(points)


def test_a_plan_is_rejected_once(killed: Callable[..., list[Any]], questions: None) -> None:
    assert len(killed(reject, PUTS, before=planned)) == 2


@pytest.mark.slow
def test_what_was_planned_is_carried_out_once(killed: Callable[..., list[Any]]) -> None:
    assert len(killed(carry_out, [INSIDE], before=planned)) > 15


@pytest.mark.slow
def test_what_was_approved_is_carried_out_once(
    killed: Callable[..., list[Any]], questions: None
) -> None:
    """As `rebuild_standby` and `trim_changelogs` do."""
    shown: list[Any] = []

    def before(_rig: Rig) -> None:
        shown[:] = approve("Approve")

    assert len(killed(lambda: carry_out(shown), [INSIDE], before=before)) > 15


@pytest.mark.slow
def test_stages_that_are_killed_are_gone_on_with_and_the_switch_is_asked_for_before_it_alone(
    killed: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `repartition` does; a run that is cleared begins with its first stage."""
    at: list[Rig] = []
    plan_of: list[Any] = []

    def before(rig: Rig) -> None:
        plan()
        at[:] = [rig]
        record = rig.warehouse.executor().books().operation(NAME)
        plan_of[:] = [{"operation": NAME, "plan_id": record.plan_id}]

    def asked(**_given: Any) -> None:
        assert at[0].warehouse.shelf.labels() == [], "it was made already"

    hitl = "airflow.providers.standard.operators.hitl"
    monkeypatch.setattr(f"{hitl}.upsert_hitl_detail", asked)

    def stage(step: str) -> None:
        operator = StageOperator(
            task_id=step, kind="shelve", steps=(step,), approved=plan_of, deferrable=False
        )
        operator.execute(context(**FORM))

    def run() -> None:
        stage("a")
        stage("b")
        with contextlib.suppress(TaskAwaitingInput):
            SwitchApproval(task_id="ask", approved=plan_of, step="label").execute(context(**FORM))
        stage("label")

    assert len(killed(run, [INSIDE], before=before)) > 20


@pytest.mark.slow
def test_a_failed_run_is_settled_once(killed: Callable[..., list[Any]]) -> None:
    assert len(killed(settle, [INSIDE, *PUTS], before=failed)) > 10


def test_a_plan_is_settled_once(killed: Callable[..., list[Any]]) -> None:
    assert len(killed(settle, PUTS, before=planned)) == 2


@pytest.mark.parametrize(
    ("point", "looked"),
    [("verify", [1, 2]), ("before_note", [1, 2]), ("after_note", [1, 1])],
)
def test_a_check_that_is_killed_looks_again_only_at_what_it_has_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, looked: list[int]
) -> None:
    config = Config(application_id="app", snapshot_repository=f"file://{tmp_path}/repository")
    with open_repository(config) as place:
        for number in range(2):
            source = checkpoint(tmp_path / str(number), {"1.sst": content(1_000, number)})
            create(
                place, place.shelf("app", TaskId(0, number)), Checkpoint(source, None), about=ABOUT
            )
    hook = "streamer_airflow.hooks.application.ApplicationHook.config"
    monkeypatch.setattr(hook, lambda _hook: config)
    seen: list[str] = []
    dies = [point]

    def at(name: str) -> None:
        if dies == [name]:
            dies.clear()
            raise SystemExit

    verify, note = checking.verify, checking.note_verified

    def looks(repository: Any, shelf: Any, stem: str, **given: Any) -> Any:
        seen.append(str(shelf.task))
        at("verify")
        return verify(repository, shelf, stem, **given)

    def notes(shelf: Any, stem: str, level: Any) -> None:
        at("before_note")
        note(shelf, stem, level)
        at("after_note")

    monkeypatch.setattr(checking, "verify", looks)
    monkeypatch.setattr(checking, "note_verified", notes)
    operator = CheckOperator(task_id="check", unit={"tasks": ["0_0", "0_1"]})
    with pytest.raises(SystemExit):
        operator.execute(context(level="contents"))
    assert len(seen) == looked[0]
    seen.clear()
    operator.execute(context(level="contents"))
    assert len(seen) == looked[1]
    seen.clear()
    # All is noted: another try has nothing to look at.
    assert operator.execute(context(level="contents"))["snapshots"] == []
    assert seen == []
    with open_repository(config) as place:
        found = [list(verified(shelf).values()) for shelf in place.shelves("app")]
    assert found == [["contents"], ["contents"]]
