"""What each kind of operation has to bring along, and which kinds there are.

A kind looks at its world and makes a plan of it; from a plan alone it makes the steps. A step asks
the world whether it is done, never its memory: so a rerun of a command, a retried task of Airflow
and the process after a crash all do the same, which is to run the first step that is not done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from streamer.config import Config
from streamer.control.plans import Plan
from streamer.errors import InvariantError, OperationRefusedError
from streamer.operations.work import Work

__all__ = ["Kind", "Kinds", "Request", "Step"]

Request = Mapping[str, Any]
"""What was asked for, as JSON can hold it; kept in the record, so that a plan can be made anew."""

# What a kind works on: clients, a repository, whatever its steps ask and change.
W = TypeVar("W")
In = TypeVar("In", contravariant=True)


class Step(Protocol[In]):
    """A part of an operation that is idempotent.

    `is_done` stays true when later steps have run: one whose effect is taken away by a later step
    (a pause, a pin) says so by asking for what that step has brought about as well.
    """

    @property
    def id(self) -> str: ...

    def is_done(self, world: In) -> bool:
        """Ask the world. It changes nothing, and may be asked at any time."""
        ...

    def run(self, world: In, work: Work) -> str:
        """Bring it about; may be killed anywhere and run again, also by another process while this
        one still believes that it is the one: so names of what is made carry `work.operation` and,
        where two could write the same, `work.epoch`. Returns a sentence for people."""
        ...

    def undo(self, world: In, work: Work) -> str:
        """Take back whatever `run` did, all of it, a part, or nothing. Never called once there is
        no way back."""
        ...


class Kind(Protocol[W]):
    """One kind of operation."""

    @property
    def name(self) -> str: ...

    def open(self, config: Config, request: Request) -> AbstractContextManager[W]:
        """The world as it is reached from here. Raises OperationRefusedError where the request
        makes no sense."""
        ...

    def plan(self, world: W, request: Request) -> Plan:
        """What is to be done, as a function of what is seen. All that can be checked is checked
        here, before anything happens; OperationRefusedError says what is in the way."""
        ...

    def steps(self, plan: Plan) -> Sequence[Step[W]]:
        """The steps of a plan, in its order and with its ids, made of their parameters alone."""
        ...


class Kinds:
    """The kinds that this process can carry out, by name."""

    def __init__(self, kinds: Iterable[Kind[Any]] = ()) -> None:
        self._kinds: dict[str, Kind[Any]] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise InvariantError(f"two kinds of operations are called {kind.name!r}")
            self._kinds[kind.name] = kind

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    @property
    def names(self) -> list[str]:
        return sorted(self._kinds)

    def named(self, name: str) -> Kind[Any]:
        """Raises OperationRefusedError for a kind that this release does not know."""
        if name in self._kinds:
            return self._kinds[name]
        known = ", ".join(self.names) or "none"
        raise OperationRefusedError(
            f"operations of kind {name!r} cannot be carried out here; known are: {known}",
            hint="another release wrote it: resume or cancel it with that one; or give it up as it"
            " is: streamer operations cancel ID --abandon",
        )

    def steps(self, plan: Plan) -> Sequence[Step[Any]]:
        """Raises InvariantError where a kind's steps are not those of its plan."""
        made = self.named(plan.kind).steps(plan)
        if [step.id for step in made] != [step.id for step in plan.steps]:
            raise InvariantError(
                f"kind {plan.kind!r} makes the steps {[step.id for step in made]}"
                f" of a plan with {[step.id for step in plan.steps]}"
            )
        return made
