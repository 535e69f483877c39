"""Over a ceiling means two ideas in one place: find the second noun. Ruff checks the lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.conftest import definitions, listed

CEILINGS = {"module": 400, "class": 250, "function": 70}
PARAMETERS = 3
PRIVATE_PARAMETERS = 4  # all calls are in the same module, where a reader sees both ends
CODE = ("streamer", "demo", "bench", "examples", "plugins", "dags")

Modules = dict[Path, ast.Module]


def length(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_modules_are_short(texts: dict[Path, str]) -> None:
    """Those of tests as well."""
    lines = {str(file): text.count("\n") for file, text in texts.items() if file.suffix == ".py"}
    too_long = {file: count for file, count in lines.items() if count > CEILINGS["module"]}
    assert not too_long, listed(too_long)


def test_classes_are_short(modules: Modules) -> None:
    too_long = {
        f"{file}: {node.name}": length(node)
        for file, tree in modules.items()
        for node in definitions(tree)
        if isinstance(node, ast.ClassDef) and length(node) > CEILINGS["class"]
    }
    assert not too_long, listed(too_long)


def functions(modules: Modules) -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file, tree in modules.items():
        for node in definitions(tree):
            if not isinstance(node, ast.ClassDef):
                yield file, node


def test_functions_are_short(modules: Modules) -> None:
    too_long = {
        f"{file}: {node.name}": length(node)
        for file, node in functions(modules)
        if length(node) > CEILINGS["function"]
    }
    assert not too_long, listed(too_long)


def test_functions_take_few_positional_parameters(modules: Modules) -> None:
    too_many = {}
    for file, node in functions(modules):
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        # The interpreter decides what its own protocols pass.
        is_given = node.name.startswith("__") and node.name != "__init__"
        is_private = node.name.startswith("_") and node.name != "__init__"
        ceiling = PRIVATE_PARAMETERS if is_private else PARAMETERS
        if file.parts[0] in CODE and count > ceiling and not is_given:
            too_many[f"{file}: {node.name}"] = count
    assert not too_many, listed(too_many)


def test_the_check_sees_what_is_too_long() -> None:
    tree = ast.parse("def f(a, b, c, d):\n" + "    a = 1\n" * CEILINGS["function"])
    modules = {Path("streamer/x.py"): tree}
    with pytest.raises(AssertionError, match=r"test_x\.py: 401"):
        test_modules_are_short({Path("tests/test_x.py"): "\n" * (CEILINGS["module"] + 1)})
    with pytest.raises(AssertionError, match=r"x\.py: f"):
        test_functions_are_short(modules)
    with pytest.raises(AssertionError, match=r"x\.py: f"):
        test_functions_take_few_positional_parameters(modules)
