"""The reference pages of the documentation, written from the code that they describe.

    python -m streamer.cli.reference [DIRECTORY]      writes configuration.md, metrics.md, ...

A test compares the pages with the code, so nothing is ever described that is not so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from streamer import metrics
from streamer.cli.main import parser
from streamer.config import Config, Setting, budget, settings
from streamer.config.memory import PERCENT, PROCESS_BYTES_MAX
from streamer.errors import InvariantError
from streamer.store.reference import page as options_page

__all__ = ["PAGES", "pages"]

_GENERATED = "<!-- Written by `python -m streamer.cli.reference`; change the code instead. -->"

_CONFIGURATION = """\
# Configuration

{generated}

Names are Kafka's with underscores, wherever Kafka or Kafka Streams has the setting. A later source
wins over an earlier one:

1. the defaults below;
2. a TOML file: `streamer.toml` in the working directory, or the file that `--config` or the
   variable `STREAMER_CONFIG` names; in a table `[streamer]`, or at the top when there is none
   (with one, a setting beside it is refused, and other tools' tables are left alone);
3. keywords of the application: `App("spend", commit_interval_ms=500)`;
4. the environment: `STREAMER_COMMIT_INTERVAL_MS=500`;
5. the command line: `--set commit_interval_ms=500`.

Tables are merged entry by entry in the same order. An entry of a table is `[streamer.kafka]` and
`security.protocol = "SSL"` in a file, `STREAMER_KAFKA__SECURITY_PROTOCOL=SSL` in the environment
and `--set kafka.security.protocol=SSL` on the command line. Durations are whole milliseconds, or a
`timedelta` in Python; sizes are bytes, or text such as `512MiB`.

An unknown name or a wrong value ends the start with exit code 2, the source and the nearest right
name. `streamer settings MODULE:APP` checks all sources and shows where each value comes from.
"""

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Identity and connection": (
        *("bootstrap_servers", "worker_id", "state_dir", "application_server"),
        *("http_host", "http_port"),
    ),
    "Zones, copies and moves": (
        *("zone", "host", "capacity", "zone_policy", "standby_replicas", "acceptable_recovery_lag"),
        *("max_warmup_replicas", "max_warmup_replicas_per_worker", "rebalance_delay_ms"),
    ),
    "Processing": (
        *("processing_guarantee", "commit_interval_ms", "max_poll_records", "poll_ms"),
        *("task_idle_ms", "stray_quiet_ms", "auto_offset_reset", "memory_bytes_max"),
        "replay_lag_max",
    ),
    "Errors": (
        *("deserialization_error", "processing_error", "production_error", "dead_letter_topic"),
    ),
    "Time limits and intervals": (
        *("session_timeout_ms", "heartbeat_interval_ms", "transaction_timeout_ms"),
        *("processing_timeout_ms", "shutdown_timeout_ms", "status_interval_ms"),
        *("metadata_max_age_ms", "offsets_refresh_ms"),
    ),
    "Internal topics": (
        *("replication_factor", "changelog_segment_bytes", "changelog_segment_ms"),
        *("internal_topics", "assignment_partitions"),
    ),
    "Snapshots": (
        *("snapshot_repository", "snapshot_interval_ms", "snapshot_keep_last"),
        *("snapshot_keep_ms", "snapshot_key_file", "snapshot_parallel_transfers"),
        *("snapshot_niceness", "snapshot_cpu_percent"),
        *("snapshot_bytes_per_second", "snapshot_patience_ms"),
        *("snapshot_s3_endpoint", "snapshot_s3_region", "snapshot_s3_profile"),
        *("snapshot_s3_access_key", "snapshot_s3_secret_key"),
        *("snapshot_s3_encryption", "snapshot_s3_kms_key"),
        *("snapshot_ssh_key", "snapshot_ssh_known_hosts"),
        *("bootstrap_from", "bootstrap_gain_ms", "bootstrap_records_per_second"),
        *("bootstrap_fetch_bytes_per_second", "bootstrap_parallel"),
        *("snapshot_export_dir", "snapshot_export_address"),
    ),
    "Trimming": ("trim_snapshots_min", "trim_verified_level", "trim_percent_max"),
    "Logging": ("log_level", "log_format"),
    "Settings of the libraries underneath": ("kafka", "rocksdb", "schema_registry"),
}

_METRICS = """\
# Metrics

{generated}

Every worker serves these at `/metrics` for Prometheus. They change once per batch, commit or
status. Labels are bounded by the topology; nothing that comes out of records becomes a label.
"""

_COMMANDS = """\
# Commands

{generated}

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused (nothing was changed).
Every command takes `--debug`, which shows a traceback instead of one line for an error.
"""


def configuration() -> str:
    return "\n".join(_configuration()) + "\n"


def _configuration() -> Iterator[str]:
    yield _CONFIGURATION.format(generated=_GENERATED)
    declared = {each.name: each for each in settings()}
    listed = [name for names in _SECTIONS.values() for name in names]
    if sorted(listed) != sorted(declared):
        wrong = sorted(set(listed) ^ set(declared))
        raise InvariantError(f"settings and the sections of their page differ: {wrong}")
    for section, names in _SECTIONS.items():
        yield f"## {section}\n"
        yield "| name | value | default | what it does |"
        yield "|---|---|---|---|"
        for name in names:
            setting = declared[name]
            yield _row(f"`{name}`", _kind(setting), _default(setting), setting.why)
        yield ""
    yield from _memory()


def _memory() -> Iterator[str]:
    parts = budget(Config(application_id="example"))
    yield "## How the memory is divided\n"
    yield (
        f"Of `memory_bytes_max` the process itself gets {_size(PROCESS_BYTES_MAX)}, or half of"
        " a smaller\nbudget. The rest is divided:\n"
    )
    yield "| part | share | of the default | used for |"
    yield "|---|---|---|---|"
    for name, (percent, purpose) in PERCENT.items():
        size = f"{getattr(parts, name) / 2**20:.0f} MiB"
        yield _row(name.removesuffix("_bytes").replace("_", " "), f"{percent} %", size, purpose)


def metric_page() -> str:
    lines = [_METRICS.format(generated=_GENERATED)]
    lines += ["| name | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in metrics.declared():
        labels = ", ".join(metric.labels)
        lines.append(_row(f"`{metric.name}`", metric.kind, metric.unit, labels, metric.meaning))
    return "\n".join(lines) + "\n"


def rocksdb_options() -> str:
    return options_page(_GENERATED)


def commands() -> str:
    lines = [_COMMANDS.format(generated=_GENERATED)]
    for command in _leaves(parser()):
        lines += _command(command)
    return "\n".join(lines).rstrip("\n") + "\n"


def _leaves(command: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [each for each in command._actions if isinstance(each, argparse._SubParsersAction)]
    is_root = command.prog == "streamer"
    if not groups or (command.epilog and not is_root):
        yield command
    for group in groups:
        for inner in group.choices.values():
            yield from _leaves(inner)


def _command(command: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {command.prog}\n"
    yield f"{command.description}\n"
    if command.epilog:
        text, _, example = command.epilog.partition("\n\n")
        yield f"{text.strip()}\n" if not text.startswith("  ") else ""
        for line in example.splitlines():
            yield f"    {line.strip()}"
        yield ""
    everywhere = ("help", "debug", argparse.SUPPRESS)
    shown = [each for each in command._actions if each.dest not in everywhere]
    shown = [each for each in shown if each.help != argparse.SUPPRESS]
    shown = [each for each in shown if not isinstance(each, argparse._SubParsersAction)]
    if shown:
        yield from ("| argument | what it does |", "|---|---|")
        yield from (_row(f"`{_written(each)}`", each.help or "") for each in shown)
        yield ""


def _written(action: argparse.Action) -> str:
    names = action.metavar or action.dest.upper()
    value = names if isinstance(names, str) else " ".join(names)
    if not action.option_strings:
        return f"[{value}]" if action.nargs in ("?", "*") else value
    return " ".join([", ".join(action.option_strings), *([] if action.nargs == 0 else [value])])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(setting: Setting) -> str:
    if setting.kind == "choice":
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.kind == "mapping":
        return "table"
    if setting.kind == "size":
        return f"size{_bounds(setting, _size)}"
    if setting.kind == "integer":
        return (setting.unit or "number") + _bounds(setting, str)
    return setting.kind


def _bounds(setting: Setting, shown: Callable[[int], str]) -> str:
    low = f"from {shown(setting.low)}" if setting.low else ""
    high = "" if setting.high is None else f"to {shown(setting.high)}"
    bounds = " ".join(part for part in (low, high) if part)
    return f", {bounds}" if bounds else ""


def _default(setting: Setting) -> str:
    if setting.default is None:
        return "unset"
    if setting.kind == "size":
        return _size(setting.default)
    return f"`{setting.default}`" if setting.default not in ("", {}) else "empty"


def _size(size_bytes: int) -> str:
    if size_bytes < 2**10:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    mib = size_bytes / 2**20
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib:g} MiB"


PAGES: Mapping[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "metrics.md": metric_page,
    "cli.md": commands,
    "rocksdb-options.md": rocksdb_options,
}


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    return {name: write() for name, write in PAGES.items()}


if __name__ == "__main__":
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")
