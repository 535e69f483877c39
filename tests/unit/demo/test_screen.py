"""One screen on a terminal, lines without one."""

from __future__ import annotations

import io

import pytest

from demo.screen import Live, Plain, View, WorkerLine, screen_for

VIEW = View(
    total=1_000,
    written=900,
    done=600,
    per_second=50,
    workers=[
        WorkerLine("a", 11, "runs", ("0_0", "0_2"), "http://127.0.0.1:8081"),
        WorkerLine("b", 12, "killed", (), ""),
    ],
    profiles=["14048  7 orders"],
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_screen_and_a_pipe_gets_lines() -> None:
    assert isinstance(screen_for(Terminal()), Live)
    assert isinstance(screen_for(io.StringIO()), Plain)


def test_a_line_says_progress_lag_and_owners() -> None:
    out = io.StringIO()
    Plain(out).show(VIEW)
    (line,) = out.getvalue().splitlines()
    assert line.endswith("s  600 of 1,000  50/s  lag 300  a: 0_0 0_2  b: killed")
    assert "\x1b" not in line


def test_lines_come_once_a_second_and_what_happens_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("demo.screen.time.monotonic", lambda: now[0])
    out = io.StringIO()
    plain = Plain(out)
    for now[:] in ([100.0], [100.4], [100.9], [101.1]):
        plain.show(VIEW)
    plain.say("killed")
    assert [line.split("s  ")[0].strip() for line in out.getvalue().splitlines()] == [
        "0.0",
        "1.1",
        "1.1",
    ]


def test_the_screen_is_drawn_over_itself_and_lines_stay_above() -> None:
    out = Terminal()
    live = Live(out)
    live.show(VIEW)
    height = out.getvalue().count("\n")
    assert height == 5
    live.say("killed")
    assert f"\x1b[{height}F\x1b[J   0.0 s  killed\n" in out.getvalue()
    live.close()
    live.say("stopping")
    assert out.getvalue().endswith("  0.0 s  stopping\n")
    assert out.getvalue().count("\x1b[") == 2


def test_the_bar_is_full_at_the_end_and_lines_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal()
    Live(out).show(View(total=5, written=5, done=5, profiles=["x" * 200]))
    assert "█" * 24 in out.getvalue()
    assert "░" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) == 59
