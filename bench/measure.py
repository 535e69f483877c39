"""Runs processes and reads what they cost: CPU seconds, peak memory, wall time.

Only the measured processes and their descendants count; the broker and the harness do not. Figures
come from /proc while the processes live, since the maximum that wait4 gives for a child includes
the memory of the parent it was forked from. Hence Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
POLL_S = 0.1
STALL_S = 180.0
STOP_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class MeasureError(Exception):
    """A measured process ended early or stood still; the message ends with its last output."""


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment; ``events`` are those committed by then, -1 for not yet begun.

    ``machine_s`` are the busy CPU seconds of the whole machine, the broker and strangers included.
    """

    wall_s: float
    events: int
    cpu_s: float
    machine_s: float
    peak_mib: float
    rss_mib: float


@dataclass(frozen=True)
class Measurement:
    """The samples of one run, from the start of the processes to the commit of the last event."""

    samples: tuple[Sample, ...]
    began_s: float = 0.0
    """When the processes were started, by `time.perf_counter`."""

    @property
    def last(self) -> Sample:
        return self.samples[-1]

    @property
    def events_per_s(self) -> float:
        return self.last.events / self.last.wall_s

    @property
    def cpu_s_per_million(self) -> float:
        return self.last.cpu_s / self.last.events * 1e6

    @property
    def peak_mib(self) -> float:
        return max(sample.peak_mib for sample in self.samples)

    def warm(self) -> tuple[float, float] | None:
        """Events/s and CPU s per million of the second half; None if that was over too soon."""
        half = next(s for s in self.samples if s.events * 2 >= self.last.events)
        events = self.last.events - half.events
        if events * 5 < self.last.events:
            return None
        wall_s, cpu_s = self.last.wall_s - half.wall_s, self.last.cpu_s - half.cpu_s
        return events / wall_s, cpu_s / events * 1e6

    @property
    def own_cores(self) -> float:
        """How many cores the measured processes kept busy on average."""
        return self.last.cpu_s / self.last.wall_s

    @property
    def machine_cores(self) -> float:
        """How many cores were busy on average, whoever used them."""
        first = self.samples[0]
        if first is self.last:
            return 0.0
        return (self.last.machine_s - first.machine_s) / (self.last.wall_s - first.wall_s)

    def curve(self, points: int = 20) -> list[tuple[int, int]]:
        """(events, resident MiB) at about evenly spaced moments."""
        step = max(1, len(self.samples) // points)
        return [(s.events, round(s.rss_mib)) for s in (*self.samples[::step], self.last)]

    def parts(self, count: int = 20) -> Iterator[tuple[Sample, Sample]]:
        """The first and the last sample of about so many parts, of about as many events each."""
        first = self.samples[0]
        for sample in self.samples:
            events = sample.events - max(first.events, 0)
            if events * count >= self.last.events or (sample is self.last and events > 0):
                yield first, sample
                first = sample


class Child:
    """One measured process with its output in a file; it dies with this one, however that ends."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*bound(), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises MeasureError if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise MeasureError(f"ended early with exit code {code}\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in family(self._process.pid))

    def peak_mib(self) -> float:
        return sum(_status_mib(pid, "VmHWM") for pid in family(self._process.pid))

    def rss_mib(self) -> float:
        return sum(_status_mib(pid, "VmRSS") for pid in family(self._process.pid))

    def terminate(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """By SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Waits for the end and kills what does not end; returns the exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@dataclass
class _Watch:
    """Follows the progress and notices when there has been none for too long."""

    started: float
    events: int = 0
    moved: float = 0.0

    def see(self, events: int, children: Sequence[Child]) -> None:
        now = time.perf_counter()
        if events > self.events or not self.moved:
            self.events, self.moved = events, now
        elif now - self.moved > STALL_S:
            tails = "\n".join(child.tail() for child in children)
            raise MeasureError(f"no progress for {STALL_S:.0f} s at {events:,} events\n{tails}")


def measure(
    start: Callable[[], Sequence[Child]],
    *,
    progress: Callable[[], int],
    total: int,
    on_sample: Callable[[Sample], None] = lambda _: None,
) -> Measurement:
    """Runs the children until ``progress()`` reaches ``total``, then stops them.

    Raises MeasureError if a child ends before, or if nothing moves for three minutes.
    """
    if not sys.platform.startswith("linux"):
        raise MeasureError("the benchmarks read /proc and so run on Linux only")
    watch = _Watch(time.perf_counter())
    children = start()
    samples: list[Sample] = []
    try:
        while not samples or samples[-1].events < total:
            time.sleep(POLL_S)
            for child in children:
                child.check()
            sample = _sample(children, watch.started, min(progress(), total))
            watch.see(sample.events, children)
            samples.append(sample)
            on_sample(sample)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
    return Measurement(tuple(samples), watch.started)


def bound() -> list[str]:
    """A launcher: it asks for SIGKILL when this process ends, then becomes the command."""
    from streamer.launch import launched

    return launched([], signal.SIGKILL)


def _sample(children: Sequence[Child], started: float, events: int) -> Sample:
    return Sample(
        wall_s=time.perf_counter() - started,
        events=events,
        cpu_s=sum(child.cpu_s() for child in children),
        machine_s=_machine_s(),
        peak_mib=sum(child.peak_mib() for child in children),
        rss_mib=sum(child.rss_mib() for child in children),
    )


def family(pid: int) -> list[int]:
    """The process and its living descendants."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def cpu_s(pid: int) -> float:
    """User and system time of a process and of its ended, awaited children."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The name in parentheses may hold spaces; utime, stime, cutime, cstime are fields 14 to 17.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / TICKS


def _machine_s() -> float:
    """All that is not idle or waiting for a disk; guests are counted within user time."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    user, nice, system, _idle, _iowait, *interrupts = map(int, line.split()[1:8])
    return (user + nice + system + sum(interrupts)) / TICKS


def _status_mib(pid: int, key: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0
