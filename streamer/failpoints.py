"""Named places where a test can make a worker die, fail or wait; they cost nothing unarmed.

    STREAMER_FAILPOINTS="commit.after_flush=kill@3,restore.before_batch=error,task.after_open=sleep:500"

`kill` ends the process with SIGKILL, `error` raises InjectedError, `sleep:MS` waits so long and
`wait:PATH` until there is such a file. `@N` means at the N-th time alone; without it `kill` and
`error` act the first time and the others every time.
The names are the closed set below, so that a test cannot arm a place that no longer exists.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from streamer.errors import ConfigError, InvariantError

__all__ = ["NAMES", "InjectedError", "arm", "armed", "disarm", "hit", "kill_instead"]

NAMES = frozenset(
    {
        "adopt.before_marker",
        "adopt.after_marker",
        "adopt.between_renames",
        "adopt.before_marker_removed",
        "bootstrap.before_adopt",
        "bootstrap.after_adopt",
        "bootstrap.before_former_removed",
        "checkpoint.before_make",
        "checkpoint.after_make",
        "checkpoint.before_noted",
        "checkpoint.before_removed",
        "commit.before_flush",
        "commit.after_flush",
        "commit.before_transaction_commit",
        "commit.after_transaction_commit",
        "commit.before_store_write",
        "commit.between_store_chunks",
        "commit.after_store_write",
        "completion.after_topics",
        "completion.after_order",
        "control.before_assignment",
        "control.after_assignment",
        "control.before_fence",
        "control.after_fence",
        "control.before_pause_end",
        "control.after_pause_fence",
        "feed.before_produce",
        "feed.after_produce",
        "feed.before_commit",
        "feed.after_commit",
        "fetch.after_file",
        "former.before_removed",
        "former.after_renamed",
        "merge.after_family",
        "merge.after_rename",
        "merge.before_record",
        "merge.before_rename",
        "operations.before_claim",
        "operations.after_claim",
        "operations.before_write",
        "operations.after_write",
        "operations.before_step",
        "operations.after_step",
        "operations.before_undo",
        "operations.after_undo",
        "pause.before_fence",
        "pause.after_fence",
        "repartition.after_topics",
        "repartition.after_proof",
        "repartition.before_pause",
        "repartition.after_pause",
        "repartition.before_switch",
        "repartition.after_switch",
        "repartition.after_growth",
        "repartition.after_withdraw",
        "repartition.after_forget",
        "restore.before_batch",
        "restore.after_batch",
        "restore.before_ready",
        "shadow.after_renamed",
        "shadow.before_adopted",
        "shadow.before_open",
        "shadow.before_removed",
        "snapshot.after_pending",
        "snapshot.after_file",
        "snapshot.before_commit",
        "snapshot.after_commit",
        "split.after_block",
        "split.after_family",
        "split.after_rename",
        "split.before_record",
        "split.before_rename",
        "survey.before_note",
        "table.before_commit",
        "task.before_open",
        "task.after_open",
        "task.before_close",
        "trim.after_hold",
        "trim.before_delete",
        "replay.after_rows",
        "replay.after_delete",
        "trim.after_delete",
        "trim.after_note",
        "trim.after_release",
        "standby.before_open",
        "standby.before_close",
        "worker.before_leave",
    }
)
VARIABLE = "STREAMER_FAILPOINTS"

Action = Callable[[], object]
_ACTION = re.compile(
    r"(?:(?P<kind>kill|error)|sleep:(?P<ms>\d+)|wait:(?P<path>[^@]+))(?:@(?P<nth>[1-9]\d*))?"
)
_LOOK_S = 0.02
_log = logging.getLogger(__name__)


class InjectedError(Exception):
    """What an armed `error` raises: on purpose no StreamerError, so nothing expects it."""


def hit(name: str) -> None:
    """Pass the failpoint `name`; do what it is armed with, if anything."""
    if _armed:
        _fire(name)


def arm(specification: str, *, origin: str = VARIABLE) -> None:
    """Arm what the text asks for. Raises ConfigError for an unknown name or action."""
    for part in specification.split(","):
        if part.strip():
            name, _, action = part.strip().partition("=")
            _armed[_checked(name, origin)] = _action(name, action, origin)


def disarm() -> None:
    """Disarm everything."""
    _armed.clear()


def kill_instead(pid: int) -> None:
    """From now on `kill` ends this process: the one that the calling one works for."""
    global _victim
    _victim = pid


@contextmanager
def armed(name: str, action: str | Action) -> Iterator[None]:
    """Arm one failpoint inside the block: a text such as `error@2`, or a function to call."""
    before = _armed.get(_checked(name, "armed"))
    _armed[name] = _action(name, action, "armed") if isinstance(action, str) else action
    try:
        yield
    finally:
        del _armed[name]
        if before is not None:
            _armed[name] = before


def _fire(name: str) -> None:
    if name not in NAMES:
        raise InvariantError(f"failpoint {name} is not in the list of failpoints.py")
    action = _armed.get(name)
    if action is not None:
        action()


def _checked(name: str, origin: str) -> str:
    if name in NAMES:
        return name
    near = get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(sorted(NAMES))
    raise ConfigError(f"{origin}: unknown failpoint {name!r}", hint=hint)


def _action(name: str, text: str, origin: str) -> Action:
    match = _ACTION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{origin}: {name}={text} is not an action",
            hint="use kill, error, sleep:MILLISECONDS or wait:PATH, each optionally with @N",
        )
    only = int(match["nth"]) if match["nth"] else (1 if match["kind"] else None)
    effect = _effect(name, match)
    hits = 0

    def act() -> None:
        nonlocal hits
        hits += 1
        if only is None or hits == only:
            _log.warning("failpoint %s acts: %s", name, text)
            effect()

    return act


def _effect(name: str, match: re.Match[str]) -> Action:
    if match["ms"]:
        return lambda: time.sleep(int(match["ms"]) / 1000)
    if match["path"]:
        return lambda: _wait(Path(match["path"]))
    return _kill if match["kind"] == "kill" else lambda: _raise(name)


def _wait(path: Path) -> None:
    while not path.exists():
        time.sleep(_LOOK_S)


def _kill() -> None:
    sys.stderr.flush()
    os.kill(_victim or os.getpid(), signal.SIGKILL)
    while _victim:  # it takes this one with it
        time.sleep(_LOOK_S)


def _raise(name: str) -> None:
    raise InjectedError(name)


_armed: dict[str, Action] = {}
_victim = 0
# At import, so that every process started with the variable is armed, whatever starts it.
arm(os.environ.get(VARIABLE, ""))
