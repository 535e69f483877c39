"""An application of ``streamer_application`` that is read once more, as ``streamer replay work``
does: ``python -m bench.systems.streamer_again APPLICATION``."""

from __future__ import annotations

import sys

from bench.systems import Case, System
from streamer.config import resolve
from streamer.topology.replayed import replayed
from streamer.worker.followed import Lead
from streamer.worker.run import run_topology


def again(application_id: str) -> str:
    """The id under which it is read once more."""
    return f"{application_id}.again"


def system(application: str, commit_ms: int, *, name: str) -> System:
    command = [sys.executable, "-m", __name__, application]
    return System(name=name, commit_ms=commit_ms, command=lambda _: command)


def main() -> int:
    from bench.systems import streamer_application

    app = getattr(streamer_application, sys.argv[1])
    name = again(Case.from_environment().application)
    config = resolve(name, keywords={**app.settings, "http_port": -1}).config
    lead = Lead(app.application_id, lambda: False)
    return run_topology(replayed(app.topology(), name), config, follows=lead)


if __name__ == "__main__":
    sys.exit(main())
