"""Find the App that `MODULE:APP` names, and say what is wrong when it is not there."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from streamer.errors import ConfigError, StreamerError

if TYPE_CHECKING:
    from streamer.topology.app import App

__all__ = ["load_app"]


def load_app(target: str) -> App:
    """Import the module, with the working directory on the path, and return its App.

    Raises ConfigError, or whatever StreamerError the module raises while it describes the App.
    """
    from streamer.topology.app import App

    module_name, _, attribute = target.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        right = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigError(
            f"{target}: {module_name} is a file, not a module",
            hint=f"write {right}:{attribute or 'app'}, from the directory where it is found",
        )
    module = _import(module_name, target)
    value: object = module
    for name in (attribute or "app").split("."):
        value = _attribute(value, name, target)
    if not isinstance(value, App):
        raise ConfigError(
            f"{target}: this is {_described(value)}, not an App", hint=_apps_hint(module)
        )
    return value


def see_directory() -> str:
    """Have modules found in the working directory, as Python itself does for scripts: also those
    of functions that a record names. Returns the directory."""
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    return directory


def _import(name: str, target: str) -> ModuleType:
    directory = see_directory()
    try:
        return importlib.import_module(name)
    except StreamerError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                f"{target}: there is no module {error.name}",
                hint=f"it was looked for in {directory}",
            ) from error
        raise ConfigError(
            f"{target}: importing {name} failed: {error}", hint=_place(error)
        ) from error
    except Exception as error:
        raise ConfigError(
            f"{target}: importing {name} failed: {type(error).__name__}: {error}",
            hint=_place(error),
        ) from error


def _place(error: Exception) -> str:
    """The line of the user's code that failed: the last that is not of an installed package."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"see {error.filename}, line {error.lineno}"
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    local = [frame for frame in ours if "site-packages" not in frame.filename] or ours
    return f"see {local[-1].filename}, line {local[-1].lineno}" if local else ""


def _attribute(value: object, name: str, target: str) -> object:
    if hasattr(value, name):
        return getattr(value, name)
    where = f"module {value.__name__}" if isinstance(value, ModuleType) else _described(value)
    hint = _apps_hint(value) if isinstance(value, ModuleType) else ""
    raise ConfigError(f"{target}: {where} has no {name}", hint=hint)


def _apps_hint(module: ModuleType) -> str:
    from streamer.topology.app import App

    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    if apps:
        return f"write {module.__name__}:{apps[0]}" + (
            f"; other Apps there: {', '.join(apps[1:])}" if apps[1:] else ""
        )
    return f"no App is defined at the top of {module.__name__}"


def _described(value: object) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
