"""The measured systems, one module each, and the contract between them and the harness.

A system is a command line. Its process finds its case in ``BENCH_*`` variables, reads ``source``
from the beginning, writes results to ``target``, commits its input offsets in the consumer group
``application``, and runs until SIGTERM. It never has to know that it is done: the harness watches
the group and takes its figures when every event is committed. Where there is nothing to commit
(restoring), it prints lines ``restored N``, N being all records that are in its store by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of one process; all of it travels as ``BENCH_<FIELD>``."""

    bootstrap: str
    application: str
    source: str
    target: str
    state: Path
    commit_ms: int
    partitions: int = 4
    process: int = 0
    processes: int = 1

    def environment(self) -> dict[str, str]:
        return {f"BENCH_{f.name.upper()}": str(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Case:
        return cls(
            bootstrap=variables["BENCH_BOOTSTRAP"],
            application=variables["BENCH_APPLICATION"],
            source=variables["BENCH_SOURCE"],
            target=variables["BENCH_TARGET"],
            state=Path(variables["BENCH_STATE"]),
            commit_ms=int(variables["BENCH_COMMIT_MS"]),
            partitions=int(variables["BENCH_PARTITIONS"]),
            process=int(variables["BENCH_PROCESS"]),
            processes=int(variables["BENCH_PROCESSES"]),
        )


# Paths of this environment; and no compiling of every module at each start, which costs a process
# 0.2 s of CPU: by default Python keeps what it has compiled.
_NOT_INHERITED = frozenset({"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"})


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of a table. ``prepare`` fetches and compiles what the command needs, unmeasured.

    ``topics`` are changelogs, named ``<application>-<topic>``, of a system that makes none itself;
    ``progress`` is for one that can say it in neither of the two ways.
    """

    name: str
    command: Callable[[Case], list[str]]
    commit_ms: int = 1_000
    guarantee: str = "exactly once"
    prepare: Callable[[], None] = _nothing
    progress: Callable[[Case], int] | None = None
    topics: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self, case: Case) -> dict[str, str]:
        """The child's variables: those of this process but Python's own, then the case."""
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        return {**inherited, **case.environment(), **self.settings}

    def log(self, case: Case) -> Path:
        """Where the output of the process goes."""
        return case.state / f"process-{case.process}.log"

    @property
    def title(self) -> str:
        return f"{self.name}, {self.commit_ms:,} ms"
