"""How far an operation is, in words: on a terminal, in a log, on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord, ProgressRecord

__all__ = ["STILL_MS", "progress_text", "size", "span", "step_line"]


# Longer than a worker is away that is restarted, and than any file of a store takes.
STILL_MS = 15 * 60_000


def size(size_bytes: int) -> str:
    """`1.2 GiB`; whole below a KiB."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def span(seconds: int) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def progress_text(progress: ProgressRecord) -> str:
    """Phase, amounts, rates, what is left, and who makes it wait; "" where nothing was told."""
    parts = []
    if progress.of:
        parts.append(f"phase {progress.number} of {progress.of} {progress.phase}".rstrip())
    elif progress.phase:
        parts.append(progress.phase)
    for done, total, rate, shown in (
        (progress.bytes_done, progress.bytes_total, progress.bytes_per_s, size),
        (progress.records_done, progress.records_total, progress.records_per_s, _records),
    ):
        if done or total:
            percent = f" of {shown(total)} ({min(done, total) * 100 // total} %)" if total else ""
            parts.append(shown(done) + percent)
        if rate > 0:
            parts.append(f"{shown(rate)}/s")
    if progress.eta_s >= 0:
        parts.append(f"{span(progress.eta_s)} left")
    if progress.held_by:
        parts.append(f"waits for {progress.held_by}")
    still_ms = progress.at_ms - progress.moved_ms
    if progress.moved_ms and still_ms >= STILL_MS:
        parts.append(f"nothing has moved for {span(still_ms // 1000)}")
    return ", ".join(parts)


def step_line(record: OperationRecord) -> str:
    """`step 2 of 5 upload: phase 1 of 3 files, 1.2 GiB of 4.0 GiB (30 %), 85.2 MiB/s, 33 s left`"""
    active = [step for step in record.steps if step.state in ("running", "undoing")]
    if not active or record.is_finished:
        return f"operation {record.id} is {record.state}"
    step = active[0]
    number = record.steps.index(step) + 1
    doing = "undoing " if step.state == "undoing" else ""
    text = progress_text(step.progress) if step.progress is not None else ""
    line = f"{doing}step {number} of {len(record.steps)} {step.id}"
    return f"{line}: {text}" if text else line


def _records(count: int) -> str:
    return f"{count:,} records"
