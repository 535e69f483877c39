"""Each kind of operation is killed, cancelled and woken late, before and after each step."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from streamer.operations.catalog import all_kinds
from tests.tidy.conftest import ROOT

CHECKS = {"check_kills", "check_cancels", "check_zombies"}
TESTS = ROOT / "tests" / "unit" / "operations"


@cache
def modules(file: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return frozenset(str(node.module) for node in nodes if isinstance(node, ast.ImportFrom))


def imported(file: Path) -> set[str]:
    """The modules that a file of tests imports, by itself or by a file beside it."""
    beside = f"tests.{file.parent.relative_to(ROOT / 'tests').as_posix().replace('/', '.')}."
    shared = [file.parent / (name.removeprefix(beside) + ".py") for name in modules(file)]
    return set(modules(file)).union(*(modules(one) for one in shared if one.is_file()))


def called(file: Path) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


@pytest.mark.parametrize("kind", all_kinds().names)
def test_every_kind_is_killed_cancelled_and_woken_late_at_each_step(kind: str) -> None:
    module = type(all_kinds().named(kind)).__module__
    about_it = [file for file in TESTS.rglob("test_*.py") if module in imported(file)]
    tried = set().union(*map(called, about_it))
    missing = CHECKS - tried
    assert not missing, f"{kind}: {missing} of streamer.testing.kills"
