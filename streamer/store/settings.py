"""Every option that the RocksDB binding can set, found by looking at its setters.

A setter `set_block_size` is the option `block_size`; what needs an object (a compression type, a
prefix extractor) is written as plain data and built here. So an option that a newer binding brings
is usable, checked and documented without a change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import rocksdict

__all__ = ["ALIASES", "NEEDED_CLASS", "OWNED", "UNUSABLE", "Setting", "apply", "build", "settings"]

_HOLDERS = ("Options", "BlockBasedOptions", "ReadOptions", "WriteOptions")
NEEDED_CLASS = re.compile(r"cannot be (?:cast as|converted to) '(\w+)'")

# RocksDB's names where the binding has others.
ALIASES = {
    "blob_garbage_collection_age_cutoff": "blob_gc_age_cutoff",
    "blob_garbage_collection_force_threshold": "blob_gc_force_threshold",
    "bottommost_compression": "bottommost_compression_type",
    "compression": "compression_type",
    "enable_blob_garbage_collection": "enable_blob_gc",
    "level0_file_num_compaction_trigger": "level_zero_file_num_compaction_trigger",
    "level0_slowdown_writes_trigger": "level_zero_slowdown_writes_trigger",
    "level0_stop_writes_trigger": "level_zero_stop_writes_trigger",
    "memtable_prefix_bloom_size_ratio": "memtable_prefix_bloom_ratio",
    "rate_limiter": "ratelimiter",
}

UNUSABLE = {
    "zlib": "is not compiled in: blocks would stay uncompressed",
    "fifo": "deletes old rows in silence, which the changelog still has",
}

_BUDGET = "all databases of a worker share one block cache and one write buffer budget"
_SCAN = "each scan sets its own bounds"
OWNED = {
    "block_cache": _BUDGET,
    "row_cache": _BUDGET,
    "disable_cache": _BUDGET,
    "write_buffer_manager": _BUDGET,
    "block_based_table_factory": "its options are given by their own names, such as block_size",
    "create_if_missing": "the directory of a task decides it",
    "create_missing_column_families": "the topology decides it",
    "error_if_exists": "the directory of a task decides it",
    "db_paths": "a task's state lives in its directory, which snapshots and moves rely on",
    "wal_dir": "a task's state lives in its directory, which snapshots and moves rely on",
    "env": "a task's state lives in its directory, which snapshots and moves rely on",
    "disable_wal": "without the log, positions can become durable before the rows they cover",
    "wal_recovery_mode": "skipping damaged log records would lose rows and keep positions",
    "ignore_missing_column_families": "rows of a missing store would be dropped in silence",
    "fifo_compaction_options": "FIFO compaction deletes rows that the changelog still has",
    "inplace_update_support": "queries and snapshots read while rows are written",
    "unordered_write": "queries and snapshots read while rows are written",
    "iterate_lower_bound": _SCAN,
    "iterate_upper_bound": _SCAN,
    "prefix_same_as_start": _SCAN,
    "tailing": _SCAN,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One option: the class of the binding that has it, its method, the method's parameters."""

    name: str
    holder: str
    method: str
    parameters: tuple[str, ...]

    @property
    def is_property(self) -> bool:
        return self.holder == "WriteOptions"

    @property
    def is_preset(self) -> bool:
        """Whether it stands for a group of options, so that single ones come after it."""
        return self.holder == "Options" and self.method.startswith(("optimize_", "prepare_"))


@cache
def settings() -> Mapping[str, Setting]:
    """All options by name, the owned ones included."""
    found: dict[str, Setting] = {}
    for holder in _HOLDERS:
        for method in dir(getattr(rocksdict, holder)):
            if method.startswith("_") or method in ("get_statistics", "load_latest"):
                continue
            name = method.removeprefix("set_")
            found[name] = Setting(name, holder, method, _parameters(holder, method))
    return dict(sorted(found.items()))


def _parameters(holder: str, method: str) -> tuple[str, ...]:
    if holder == "WriteOptions":
        return ("value",)
    signature = getattr(getattr(rocksdict, holder), method).__text_signature__ or ""
    names = [name.strip() for name in signature.strip("()").split(",")]
    return tuple(name for name in names if name and name not in ("$self", "/"))


def apply(setting: Setting, target: Any, value: Any) -> None:
    """Set an option on an object of its class. Raises TypeError or ValueError for a wrong value."""
    if setting.is_property:
        if not isinstance(value, bool):
            raise TypeError(f"it takes true or false, not {value!r}")
        setattr(target, setting.method, value)
        return
    method = getattr(target, setting.method)
    if not setting.parameters:
        if not isinstance(value, bool):
            raise TypeError(f"it is a switch: true or false, not {value!r}")
        if value:
            method()
        return
    arguments = _arguments(setting, value)
    try:
        method(*arguments)
    except TypeError as error:
        needed = NEEDED_CLASS.search(str(error))
        if needed is not None and needed[1] == "bool":
            raise TypeError(f"it takes true or false, not {value!r}") from error
        if needed is None or not hasattr(rocksdict, needed[1]):
            raise
        method(*(_built(needed[1], argument) for argument in arguments))
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _arguments(setting: Setting, value: Any) -> list[Any]:
    names = setting.parameters
    if setting.name == "bloom_filter" and isinstance(value, int | float):
        return [value, False]
    if len(names) == 1:
        if isinstance(value, bool) and _is_number(setting):
            raise TypeError(f"it takes a number, not {value!r}")
        return [value]
    if isinstance(value, Mapping) and set(value) == set(names):
        return [value[name] for name in names]
    if isinstance(value, list | tuple) and len(value) == len(names):
        return list(value)
    raise TypeError(f"it takes {', '.join(names)}: a list in that order, or a mapping")


@cache
def _is_number(setting: Setting) -> bool:
    """Whether a setter takes numbers: those of the binding take True for 1 as well."""
    try:
        getattr(getattr(rocksdict, setting.holder)(), setting.method)(1)
    except TypeError:
        return False
    return True


def _built(class_name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_built(class_name, element) for element in value]
    if not isinstance(value, str | Mapping):
        raise TypeError(f"it takes a {class_name} by name, or as a mapping, not {value!r}")
    return build(class_name, value)


def build(class_name: str, value: str | Mapping[str, Any]) -> Any:
    """An object of the binding from plain data.

    "zstd" calls the constructor of that name, {"create_fixed_prefix": 8} the same with arguments;
    any other mapping sets the fields of a new object.
    """
    members = {
        name: member
        for name, member in vars(getattr(rocksdict, class_name)).items()
        if not name.startswith("_")
    }
    name = value if isinstance(value, str) else next(iter(value), "")
    if name in UNUSABLE:
        raise ValueError(f"{name} {UNUSABLE[name]}")
    if isinstance(members.get(name), staticmethod):
        arguments = [] if isinstance(value, str) else value[name]
        _check_buckets(arguments)
        if isinstance(arguments, Mapping):
            return members[name](**arguments)
        return members[name](*(arguments if isinstance(arguments, list) else [arguments]))
    if isinstance(value, str):
        raise ValueError(f"{value!r} is not one of {', '.join(sorted(members))}")
    target = getattr(rocksdict, class_name)()
    for name, field in value.items():
        _set_field(target, members, name, field)
    return target


def _check_buckets(arguments: Any) -> None:
    """A hash table of no buckets divides by their number, which ends the process."""
    if isinstance(arguments, Mapping):
        buckets = arguments.get("bucket_count")
    else:
        buckets = arguments[0] if isinstance(arguments, list) and len(arguments) > 1 else None
    if buckets == 0:
        raise ValueError("it needs a bucket_count of 1 or more")


def _set_field(target: Any, members: Mapping[str, Any], name: str, value: Any) -> None:
    method = members.get("set_" + name)
    if name not in members and method is None:
        known = ", ".join(sorted(member.removeprefix("set_") for member in members))
        raise ValueError(f"{type(target).__name__} has no {name!r}, only {known}")
    for _ in range(2):
        try:
            if method is None:
                setattr(target, name, value)
            else:
                method(target, value)
            return
        except TypeError as error:
            needed = NEEDED_CLASS.search(str(error))
            if needed is None or not isinstance(value, str):
                raise TypeError(f"{name}: {error}") from error
            value = build(needed[1], value)
