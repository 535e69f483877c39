from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from streamer.cli.target import load_app
from streamer.errors import ConfigError, TopologyError

GOOD = """
from streamer.topology.app import App
app = App("spend")
other = App("other")
number = 3
class Holder:
    inner = app
"""
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])


def _module(text: str) -> str:
    name = f"target_module_{next(_numbers)}"
    Path(f"{name}.py").write_text(text, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("attribute", "application_id"),
    [(":app", "spend"), ("", "spend"), (":other", "other"), (":Holder.inner", "spend")],
)
def test_an_app_is_found_below_the_working_directory(attribute: str, application_id: str) -> None:
    assert load_app(_module(GOOD) + attribute).application_id == application_id


@pytest.mark.parametrize(
    ("attribute", "message", "hint"),
    [
        (":ap", "has no ap", "{}:app; other Apps there: other"),
        (":number", "this is an int, not an App", "{}:app"),
        (":Holder.app", "a type has no app", ""),
    ],
)
def test_a_wrong_attribute_is_answered_with_the_apps(
    attribute: str, message: str, hint: str
) -> None:
    name = _module(GOOD)
    with pytest.raises(ConfigError) as caught:
        load_app(name + attribute)
    assert message in str(caught.value)
    assert hint.format(name) in caught.value.hint


def test_a_module_without_an_app_says_so() -> None:
    name = _module("x = 1")
    with pytest.raises(ConfigError) as caught:
        load_app(name)
    assert caught.value.hint == f"no App is defined at the top of {name}"


def test_a_missing_module_names_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no module nowhere$") as caught:
        load_app("nowhere.inside:app")
    assert str(tmp_path) in caught.value.hint


@pytest.mark.parametrize("target", ["shop/app.py:app", "shop/app:app", "./shop/app.py"])
def test_a_file_is_answered_with_its_module(target: str) -> None:
    with pytest.raises(ConfigError, match="is a file, not a module") as caught:
        load_app(target)
    assert "write shop.app:app" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nimport no_such_dependency", "No module named 'no_such_dependency'"),
        ("\n1 / 0", "ZeroDivisionError: division by zero"),
        ("\ndef (", "SyntaxError"),
    ],
)
def test_a_module_that_fails_is_named_with_the_line(text: str, message: str) -> None:
    name = _module(text)
    with pytest.raises(ConfigError) as caught:
        load_app(f"{name}:app")
    assert message in str(caught.value)
    assert caught.value.hint.endswith(f"{name}.py, line 2")


def test_our_own_errors_pass_as_they_are() -> None:
    name = _module("from streamer.topology.app import App\napp = App('a b')")
    with pytest.raises(TopologyError):
        load_app(f"{name}:app")
