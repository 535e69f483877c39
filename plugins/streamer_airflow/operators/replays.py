"""What a replay has besides stages: `ReadAgainOperator`, `DiffOperator`, `ReplayApproval`.

read = ReadAgainOperator(task_id="read_again", approved=approve.output)
diff = DiffOperator(task_id="diff", approved=approve.output)
approve_switch = ReplayApproval(approved=..., differences=diff.output, step="switch")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from streamer.feed.ports import KafkaPorts
from streamer.launch import launched
from streamer.operations.repartition.request import read_request
from streamer.operations.replay.compare import compare
from streamer.operations.replay.steps import is_over
from streamer_airflow.body import of_differences
from streamer_airflow.hooks.application import executor_of
from streamer_airflow.hooks.connection import keywords_of
from streamer_airflow.links import show_link
from streamer_airflow.operators.approval import Offer
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import StreamerOperator, approved_one
from streamer_airflow.operators.stages import SwitchApproval
from streamer_airflow.toml import settings_file

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["DiffOperator", "ReadAgainOperator", "ReplayApproval"]


class ReadAgainOperator(StreamerOperator):
    """Runs workers that read the input again, with the code of the form's field `code`, until the
    replay needs them no more; without one it is skipped. Killed and tried again they go on."""

    template_fields: Sequence[str] = ("approved",)

    def __init__(self, *, approved: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approved = approved
        self._running: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:
        name = str(approved_one(self.approved)["operation"])
        show_link(context, self, name)
        code, processes = str(context["params"]["code"]), int(context["params"]["processes"])
        if not code:
            raise AirflowSkipException(
                f"they are started where the code is: streamer replay work {name} MODULE:APP"
            )
        with translated():
            _application, keywords = keywords_of(self.hook.get_connection(self.conn_id))
        with tempfile.TemporaryDirectory(prefix="streamer-replay-") as directory:
            file = settings_file(Path(directory), keywords)
            command = [sys.executable, "-m", "streamer.cli.main", "replay", "work", name, code]
            command += ["--config", str(file), "--processes", str(processes)]
            ended = self._run(command)
        if ended:
            raise AirflowException(
                f"the workers have ended with code {ended}: what they have said is above"
            )

    def _run(self, command: Sequence[str]) -> int:
        """To its end, with what it says in the log."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMER_")}
        # The code of DAG folders is there for this process, and so for the workers.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        with subprocess.Popen(
            launched(command, signal.SIGTERM),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env=environment,
        ) as running:
            self._running = running
            assert running.stdout is not None
            for line in running.stdout:
                self.log.info("%s", line.rstrip())
        return running.returncode

    def on_kill(self) -> None:
        """They commit what they have done, and leave."""
        if self._running is not None:
            self._running.terminate()


class DiffOperator(StreamerOperator):
    """Compares what was computed with the live state: rows by store, and some keys in the log.
    Nothing where the switch was made already."""

    template_fields: Sequence[str] = ("approved",)

    def __init__(self, *, approved: Any, hours: str = "work_hours", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approved = approved
        self.hours = hours

    def execute(self, context: Context) -> list[dict[str, Any]]:
        name = str(approved_one(self.approved)["operation"])
        show_link(context, self, name)
        timeout_s = 3_600 * float(context["params"][self.hours])
        said = []
        with translated():
            config = self.hook.config()
            with executor_of(config) as executor:
                record = executor.books().operation(name)
            if is_over(record):
                return []
            ports = KafkaPorts(config, stopping=threading.Event())
            for one in compare(ports, read_request(record.request), timeout_s=timeout_s):
                for kind, some in one.samples.items():
                    if some:
                        keys = ", ".join(str(each.key) for each in some)
                        self.log.info("%s, %s: %s", one.store, kind, keys)
                counted = ("store", "same", "added", "changed", "gone", "moving", "unknown")
                said.append({each: getattr(one, each) for each in counted})
                self.log.info("%s", said[-1])
        return said


class ReplayApproval(SwitchApproval):
    """The question before the switch, with what differs."""

    template_fields: Sequence[str] = ("approved", "differences")

    def __init__(self, *, differences: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.differences = differences

    def offer(self, context: Context) -> Offer | None:
        offer = super().offer(context)
        if offer is None or offer.has_begun:
            return offer
        return replace(offer, body=f"{of_differences(self.differences or [])}\n\n{offer.body}")
