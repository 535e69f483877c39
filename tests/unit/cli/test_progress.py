"""One line on a terminal, plain lines in a log."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from streamer.cli.progress import Counter, Display, progress_text, size, span
from streamer.cli.snapshots.opened import Line, duration_ms
from streamer.control.operations import OperationRecord, ProgressRecord, StepRecord
from streamer.control.plans import Plan, PlannedStep
from streamer.errors import ConfigError
from streamer.snapshot.transfer import Progress

PLAN = Plan(
    format=1,
    kind="move",
    steps=(PlannedStep(id="copy", summary=""), PlannedStep(id="switch", summary="")),
)
HALF = ProgressRecord(
    phase="files",
    number=1,
    of=3,
    bytes_done=3 << 29,
    bytes_total=5 << 30,
    bytes_per_s=80 << 20,
    records_done=1_500,
    records_per_s=70,
    eta_s=44,
    held_by="worker w1",
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(**copy: Any) -> OperationRecord:
    return OperationRecord(
        format=1,
        application="shop",
        id="move-1",
        kind="move",
        plan=PLAN,
        plan_id=PLAN.id,
        state="running",
        steps=(StepRecord(id="copy", begun=1, **copy), StepRecord(id="switch")),
    )


def test_amounts_rates_and_what_is_left_are_told() -> None:
    assert progress_text(HALF) == (
        "phase 1 of 3 files, 1.5 GiB of 5.0 GiB (30 %), 80.0 MiB/s, 1,500 records, 70 records/s,"
        " 44 s left, waits for worker w1"
    )
    assert progress_text(ProgressRecord()) == ""
    assert progress_text(ProgressRecord(phase="check", records_done=5, records_total=5)) == (
        "check, 5 records of 5 records (100 %)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7_500, "2 h 5 min")]
)
def test_spans_are_told_in_two_units(seconds: int, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("bytes_", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 50, "1024.0 TiB")]
)
def test_sizes_are_told_in_binary_units(bytes_: int, text: str) -> None:
    assert size(bytes_) == text


def test_a_log_gets_a_line_for_each_step_and_now_and_then() -> None:
    log, now = io.StringIO(), [0.0]
    display = Display(log, now=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        progress = ProgressRecord(bytes_done=second, bytes_total=24)
        display.show(record(state="running", progress=progress))
    display.show(record(state="done", said="copied", started_ms=0, ended_ms=24_000))
    display.show(msgspec.structs.replace(record(state="done", said="copied"), state="done"))
    display.close()
    assert log.getvalue().splitlines() == [
        "step 1 of 2 copy: 0 B of 24 B (0 %)",
        "step 1 of 2 copy: 10 B of 24 B (41 %)",
        "step 1 of 2 copy: 20 B of 24 B (83 %)",
        "step 1 of 2 copy is done after 24 s: copied",
        "operation move-1 is running",
        "operation move-1 is done",
    ]


def test_a_terminal_has_one_line_that_is_written_anew() -> None:
    screen, now = Screen(), [0.0]
    display = Display(screen, now=lambda: now[0])
    for tenth in range(5):
        now[0] = tenth / 10
        display.show(record(state="running", progress=ProgressRecord(records_done=tenth)))
    assert screen.getvalue().count("\n") == 0
    assert screen.getvalue().split("\r")[1:] == [
        f"step 1 of 2 copy{': ' if done else ''}{f'{done} records' if done else ''}\x1b[K"
        for done in (0, 2, 4)
    ]
    display.show(record(state="done", said="copied"))
    display.close()
    assert "\rstep 1 of 2 copy is done after 0 s: copied\x1b[K\n" in screen.getvalue()
    assert screen.getvalue().endswith("\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_count_is_shown_where_it_takes_its_time_and_leaves_no_trace() -> None:
    clock = [0.0]
    stream = Terminal()
    with Counter(stream, now=lambda: clock[0]) as counter:
        tells = counter.of("tasks looked at")
        tells(1, 1_200)
        assert stream.getvalue() == ""
        clock[0] = 1.3
        tells(400, 1_200)
        clock[0] = 1.4
        tells(401, 1_200)
        assert stream.getvalue() == "\r400 of 1,200 tasks looked at\x1b[K"
    assert stream.getvalue().endswith("\r\x1b[K")


def test_things_are_counted_when_they_are_done() -> None:
    clock = [0.0]
    stream = Terminal()
    with Counter(stream, now=lambda: clock[0]) as counter:
        for thing in counter.each("abc", "letters"):
            clock[0] += 2.0
            assert f"\r{'abc'.index(thing) + 1} of 3" not in stream.getvalue()
    assert stream.getvalue().startswith("\r1 of 3 letters\x1b[K\r2 of 3 letters")


def test_a_log_gets_a_line_of_a_count_every_ten_seconds() -> None:
    clock = [0.0]
    stream = io.StringIO()
    with Counter(stream, now=lambda: clock[0]) as counter:
        for clock[0] in (1.0, 9.0, 11.0, 12.0):
            counter.of("logs weighed")(int(clock[0]), 20)
    assert stream.getvalue() == "11 of 20 logs weighed\n"


def test_a_transfer_is_one_line_of_a_terminal_and_few_of_a_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("streamer.cli.snapshots.opened.time.monotonic", lambda: now[0])
    log, terminal = io.StringIO(), Screen()
    lines = [Line("0_1 copy", log), Line("0_1 copy", terminal)]
    for second in range(21):
        now[0] = 100.0 + second
        progress = Progress(
            files_total=4, bytes_total=4 << 20, files_done=1, bytes_done=second << 17
        )
        for line in lines:
            line.show(progress)
    for line in lines:
        line.close()
    assert log.getvalue() == (
        "0_1 copy: 1.2 MiB of 4.0 MiB, 1 of 4 files, 128.0 KiB/s, 22 s left\n"
        "0_1 copy: 2.5 MiB of 4.0 MiB, 1 of 4 files, 128.0 KiB/s, 12 s left\n"
    )
    assert terminal.getvalue().count("\r0_1 copy") == 20
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90s", 90_000), ("5min", 300_000), ("48h", 172_800_000), ("7d", 604_800_000)],
)
def test_a_time_is_a_number_and_its_unit(text: str, wanted: int) -> None:
    assert duration_ms(text) == wanted


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1d", "5 h", "5w"])
def test_another_text_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        duration_ms(text)
