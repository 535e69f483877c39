from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.errors import ConfigError, InvariantError

PLACE = "commit.after_flush"


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    failpoints.disarm()
    yield
    failpoints.disarm()


def _hits(count: int) -> list[str]:
    results = []
    for _ in range(count):
        try:
            failpoints.hit(PLACE)
            results.append("")
        except failpoints.InjectedError as error:
            results.append(str(error))
    return results


@pytest.mark.parametrize(
    ("action", "expected"),
    [("error", [PLACE, "", ""]), ("error@2", ["", PLACE, ""])],
)
def test_an_error_is_raised_at_the_asked_hit(action: str, expected: list[str]) -> None:
    failpoints.arm(f"task.before_open=error, {PLACE}={action}")
    assert _hits(3) == expected


def test_sleep_waits_every_time() -> None:
    failpoints.arm(f"{PLACE}=sleep:20")
    start = time.monotonic()
    _hits(3)
    assert time.monotonic() - start >= 0.06


def test_wait_goes_on_once_the_file_is_there(tmp_path: Path) -> None:
    released = tmp_path / "released"
    failpoints.arm(f"{PLACE}=wait:{released}@2")
    waiting = threading.Thread(target=_hits, args=(3,))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    released.touch()
    waiting.join(120)
    assert not waiting.is_alive()


def test_armed_restores_what_was_armed_before() -> None:
    seen = []
    failpoints.arm(f"{PLACE}=error@3")
    with failpoints.armed(PLACE, lambda: seen.append("called")):
        assert _hits(2) == ["", ""]
    assert seen == ["called", "called"]
    assert _hits(3) == ["", "", PLACE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("commit.after_flsh=kill", "unknown failpoint 'commit.after_flsh'"),
        (f"{PLACE}=explode", "is not an action"),
        (f"{PLACE}=sleep", "is not an action"),
        (f"{PLACE}=wait", "is not an action"),
        (f"{PLACE}=kill:3", "is not an action"),
        (f"{PLACE}=kill@0", "is not an action"),
        (PLACE, "is not an action"),
    ],
)
def test_what_cannot_be_armed_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        failpoints.arm(text)
    assert message in str(caught.value)
    assert caught.value.hint


def test_a_name_outside_the_list_is_our_own_mistake() -> None:
    failpoints.arm(f"{PLACE}=error")
    with pytest.raises(InvariantError):
        failpoints.hit("commit.somewhere")


@pytest.mark.parametrize(("action", "printed"), [("kill", "1"), ("kill@2", "1 2")])
def test_kill_ends_the_process_at_the_asked_hit(action: str, printed: str) -> None:
    code = (
        "from streamer import failpoints as f\n"
        f"for n in (1, 2, 3): print(n, flush=True); f.hit('{PLACE}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"STREAMER_FAILPOINTS": f"{PLACE}={action}", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.decode().split() == printed.split()


@pytest.mark.slow
def test_the_list_and_the_code_have_the_same_failpoints() -> None:
    root = Path(failpoints.__file__).parent
    used = [
        name
        for path in sorted(root.rglob("*.py"))
        for name in re.findall(r"\bhit\(\s*\"([a-z_.]+)\"", path.read_text(encoding="utf-8"))
    ]
    assert set(used) == failpoints.NAMES
