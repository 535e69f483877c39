"""Programs that Airflow's own import is a part of, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.airflow.conftest import HOME, ROOT

__all__ = ["PATH", "Ask", "forking", "python"]

# Runs a program with these variables of the environment; what its last line says, in JSON.
Ask = Callable[..., Any]

PATH = f"import json, sys; sys.path[:0] = {[str(ROOT / 'plugins'), str(ROOT / 'dags')]!r};"


def python(program: str, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=HOME,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=440,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


FORKING = """
import json, os, sys, traceback
import airflow.sdk
for line in sys.stdin:
    program, environment = json.loads(line)
    child = os.fork()
    if not child:
        os.environ |= environment
        try:
            exec(program, {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    _child, status = os.waitpid(child, 0)
    print("ended", status, flush=True)
"""


@contextmanager
def forking(log: Path) -> Iterator[Ask]:
    """As `python`, of a process that has Airflow's SDK already: its import takes most of the time,
    and the configuration is read when it is asked for."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", FORKING],
            cwd=HOME,
            env={**os.environ, "PYTHONPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as server,
    ):
        to, of = server.stdin, server.stdout
        assert to is not None
        assert of is not None

        def ask(program: str, **environment: str) -> Any:
            print(json.dumps([program, environment]), file=to, flush=True)
            told = ""
            for line in of:
                if line.startswith("ended "):
                    assert line == "ended 0\n", log.read_text()
                    return json.loads(told)
                told = line
            raise AssertionError(log.read_text())

        yield ask
        to.close()
