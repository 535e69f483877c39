"""The workers that read the input again for as long as `streamer replay apply` runs."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streamer.cli.options import APP_VARIABLE, same_settings
from streamer.errors import ConfigError, UnfinishedError

__all__ = ["command", "workers"]


@contextmanager
def workers(arguments: argparse.Namespace, operation: str) -> Iterator[None]:
    """So many processes that read the input again, until the end of the block. Raises
    UnfinishedError in it where they end before."""
    if not arguments.processes:
        yield
        return
    target = arguments.app or os.environ.get(APP_VARIABLE, "")
    if ":" not in target:
        raise ConfigError(
            "workers that read the input again need the application's code",
            hint="give --app MODULE:APP; or start them where it is: streamer replay work"
            f" {operation} MODULE:APP",
        )
    from streamer.launch import launched

    # All that goes to stdout is of the operation.
    started = launched(
        command(arguments, operation, target, processes=arguments.processes), signal.SIGTERM
    )
    running = subprocess.Popen(started, stdout=sys.stderr, start_new_session=True)
    codes: list[int] = []
    over = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(running, codes, over), name="replay-workers", daemon=True
    )
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        if not codes:
            raise
        raise UnfinishedError(
            f"the workers that read the input again have ended with code {codes[0]}",
            hint="what they have said before tells why; the operation is as it was, and goes on:"
            f" streamer replay apply {operation} --app MODULE:APP --processes N",
        ) from None
    finally:
        over.set()
        running.terminate()
        running.wait()
        watch.join()


def _watch(running: subprocess.Popen[bytes], codes: list[int], over: threading.Event) -> None:
    """Whoever carries the operation out hears of workers that fail as of SIGTERM, which leaves it
    at once."""
    code = running.wait()
    if code and not over.is_set():
        codes.append(code)
        os.kill(os.getpid(), signal.SIGTERM)


def command(
    arguments: argparse.Namespace, operation: str, target: str, *, processes: int
) -> list[str]:
    """`streamer replay work` with the settings of this command line."""
    found = [sys.executable, "-m", "streamer.cli.main", "replay", "work", operation, target]
    return [*found, *same_settings(arguments), "--processes", str(processes)]
