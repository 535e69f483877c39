"""The command line in this process, where a scenario needs its answer and no process of its own."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from streamer.cli.main import main


def run(*arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, and what it printed to both streams."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as ended:
            # How argparse refuses.
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: str) -> Any:
    """What a command that succeeds prints as JSON."""
    code, out, err = run(*arguments, "--json")
    assert code == 0, f"{out}\n{err}"
    return json.loads(out) if out.strip() else None
