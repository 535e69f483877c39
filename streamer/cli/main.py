"""The command line: `streamer COMMAND ...`.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused (nothing was changed).
An error that Streamer raises on purpose is one line and a hint; `--debug` shows where it came from.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from streamer.cli import (
    drain,
    inspect,
    operations,
    query,
    rebalance,
    rebuild,
    repartition,
    replay,
    run,
    sandbox,
    settings,
    show,
    snapshot,
    topology,
    trim,
)
from streamer.errors import StreamerError

__all__ = ["main", "parser"]

COMMANDS = (
    run,
    topology,
    settings,
    show,
    query,
    snapshot,
    inspect,
    rebuild,
    repartition,
    replay,
    trim,
    rebalance,
    drain,
    operations,
    sandbox,
)
FAILED = 1
# What a shell reports for a process that SIGINT ended.
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The whole command line; each command module adds its own part."""
    root = argparse.ArgumentParser(
        prog="streamer",
        description="Stateful stream processing on Kafka.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="store_true", help="print the version and exit")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    root = parser()
    given = root.parse_args(arguments)
    if given.version:
        print(_version())
        return 0
    if given.command is None:
        root.print_help()
        return 2
    try:
        code: int = given.execute(given)
        sys.stdout.flush()
    except StreamerError as error:
        if given.debug:
            raise
        print(f"streamer: {error.describe()}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted; a second error while Python closes stdout must not show.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"streamer {version('streamer')}"
    except PackageNotFoundError:
        return "streamer (not installed)"


if __name__ == "__main__":
    sys.exit(main())
