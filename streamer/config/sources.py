"""Where settings come from, and which source wins.

    defaults  <  TOML file  <  keywords of App(...)  <  environment  <  --set on the command line

Tables (kafka, rocksdb, ...) are merged name by name in the same order. A name that is not a
setting is refused wherever it stands: a misspelt setting must never be a silently ignored one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from streamer.config.model import Config, settings
from streamer.config.names import advice, nearest
from streamer.config.values import Setting, parse
from streamer.errors import ConfigError

__all__ = ["Resolved", "check_keywords", "load", "resolve"]

PREFIX = "STREAMER_"
FILE_VARIABLE = "STREAMER_CONFIG"
FILE_NAME = "streamer.toml"
# Read elsewhere, and not settings of an application.
_OTHER_VARIABLES = frozenset({FILE_VARIABLE, "STREAMER_APP", "STREAMER_FAILPOINTS"})
_OTHER_PREFIXES = ("STREAMER_SANDBOX", "STREAMER_TEST_")
# Kubernetes describes a service named `streamer` to every pod of its namespace with these.
_SERVICE_LINK = re.compile(r"STREAMER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_.+)")
# Whose names contain underscores; the other tables take Kafka's dotted names.
_UNDERSCORED = frozenset({"rocksdb"})


class Given(NamedTuple):
    """One value as one source gives it; `inner` names the entry when the setting is a table."""

    name: str
    inner: str
    raw: Any
    origin: str


class Resolved(NamedTuple):
    """A configuration, and the origin of each value that is not a default."""

    config: Config
    origins: dict[str, str]


def load(application_id: str, **sources: Any) -> Config:
    """The configuration alone; see `resolve` for the sources."""
    return resolve(application_id, **sources).config


def resolve(
    application_id: str,
    *,
    keywords: Mapping[str, Any] | None = None,
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    sets: Sequence[str] = (),
    directory: Path | None = None,
) -> Resolved:
    """Merge all sources. Raises ConfigError for a name or value that is not right.

    `file` must exist when it is given (or named by STREAMER_CONFIG); otherwise `streamer.toml` in
    `directory` (default: the working directory) is taken where there is one.
    """
    environment = os.environ if environment is None else environment
    known = {declared.name: declared for declared in settings()}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for given in (
        *_from_file(_find_file(file, environment, directory or Path())),
        *_from_keywords(keywords or {}),
        *_from_environment(environment),
        *_from_command_line(sets),
    ):
        _apply(given, known, values, origins)
    return Resolved(Config(application_id=application_id, origins=origins, **values), origins)


def check_keywords(keywords: Mapping[str, Any]) -> None:
    """Raise ConfigError for an unknown name or a wrong value among the keywords of App(...)."""
    known = {declared.name: declared for declared in settings()}
    for given in _from_keywords(keywords):
        _apply(given, known, {}, {})


def _apply(
    given: Given, known: Mapping[str, Setting], values: dict[str, Any], origins: dict[str, str]
) -> None:
    declared = known.get(given.name)
    if declared is None:
        raise _unknown(given, known)
    if declared.kind != "mapping":
        if given.inner:
            raise ConfigError(f"{given.origin}: {given.name} is not a table of settings")
        values[given.name] = parse(declared, given.raw, given.origin)
        origins[given.name] = given.origin
        return
    table = values.setdefault(given.name, {})
    if given.inner:
        entries = {given.inner: given.raw}
    else:
        entries = dict(_flat(parse(declared, given.raw, given.origin), given.name))
    for name, value in entries.items():
        table[name] = value
        origins[f"{given.name}.{name}"] = given.origin


def _unknown(given: Given, known: Mapping[str, Setting]) -> ConfigError:
    if given.inner and given.name not in known:
        dotted = f"{given.name}.{given.inner}"
        return ConfigError(f"{given.origin}: unknown setting {dotted}", hint=advice(dotted, known))
    hint = advice(given.name, known) or "docs/configuration.md lists all settings"
    return ConfigError(f"{given.origin}: unknown setting {given.name}", hint=hint)


def _flat(table: Mapping[str, Any], setting: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """TOML reads an unquoted `security.protocol` as a table in a table: join them again."""
    for name, value in table.items():
        if isinstance(value, Mapping) and setting not in _UNDERSCORED:
            yield from _flat(value, setting, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _find_file(
    file: str | Path | None, environment: Mapping[str, str], directory: Path
) -> Path | None:
    named = file or environment.get(FILE_VARIABLE)
    if not named:
        default = directory / FILE_NAME
        return default if default.is_file() else None
    path = Path(named).expanduser()
    if not path.is_file():
        source = "--config" if file else FILE_VARIABLE
        raise ConfigError(f"{source}: there is no file {path}", hint="give the path of a TOML file")
    return path


def _from_file(path: Path | None) -> Iterator[Given]:
    if path is None:
        return
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: this is not TOML: {error}", hint="text values stand in quotes"
        ) from error
    table = content.get("streamer", content)
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: streamer is a value, not a table", hint="write [streamer]")
    if table is not content:
        _check_beside(content, str(path))
    for name, raw in table.items():
        yield _given(name, raw, str(path))


def _check_beside(content: Mapping[str, Any], origin: str) -> None:
    """What stands beside [streamer] is another tool's, as in pyproject.toml; but no name that is,
    or nearly is, a setting: it would be silently ignored."""
    known = [declared.name for declared in settings()]
    for name in content:
        dotted = _given(name, content[name], origin).name
        spelt = [re.sub(r"[.-]", "_", one.lower()) for one in (dotted, name)]
        near = [nearest(one, known, likeness=0.8) for one in spelt]
        likely = near[0] or near[1]
        if name == "streamer" or likely is None:
            continue
        is_table = isinstance(content[name], dict) and near[1] is not None
        written = f"[{name}]" if is_table else dotted
        ours = f"[streamer.{likely}]" if is_table else f"{likely} = ... below [streamer]"
        raise ConfigError(
            f"{origin}: {written} stands beside [streamer], where no setting is read",
            hint=f"write {ours}; without a table [streamer] settings stand at the top",
        )


def _given(name: str, raw: Any, origin: str) -> Given:
    """`name` as is; but a table under no known name is what TOML makes of a dotted name."""
    known = {declared.name for declared in settings()}
    while name not in known and isinstance(raw, dict) and len(raw) == 1:
        [(inner, raw)] = raw.items()
        name = f"{name}.{inner}"
    return Given(name, "", raw, origin)


def _from_keywords(keywords: Mapping[str, Any]) -> Iterator[Given]:
    for name, raw in keywords.items():
        yield Given(name, "", raw, "App(...)")


def _from_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or _is_other(variable, environment[variable]):
            continue
        name, _, inner = variable.removeprefix(PREFIX).lower().partition("__")
        if name not in _UNDERSCORED:
            inner = inner.replace("__", ".").replace("_", ".")
        yield Given(name, inner, environment[variable], f"environment {variable}")


def _is_other(variable: str, value: str) -> bool:
    if variable in _OTHER_VARIABLES or variable.startswith(_OTHER_PREFIXES):
        return True
    is_link = variable.endswith("_PORT") and value.startswith(("tcp://", "udp://"))
    return is_link or _SERVICE_LINK.fullmatch(variable) is not None


def _from_command_line(sets: Sequence[str]) -> Iterator[Given]:
    for text in sets:
        name, equals, raw = text.partition("=")
        if not equals or not name.strip():
            # Behind the name may be a password that was set with another sign.
            named = re.split(r"[^\w.-]", text.strip(), maxsplit=1)[0]
            raise ConfigError(f"--set {named}: this is not name=value")
        outer, _, inner = name.strip().partition(".")
        tables = {declared.name for declared in settings() if declared.kind == "mapping"}
        if outer in tables:
            yield Given(outer, inner, raw, f"--set {name.strip()}")
        else:
            yield Given(name.strip(), "", raw, f"--set {name.strip()}")
