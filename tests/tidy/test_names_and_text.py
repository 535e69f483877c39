"""Words and addresses that must not appear. Patterns are in pieces, else this file would match."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.tidy.conftest import definitions, listed

BANNED_WORDS = {"Manager", "Handler", "Impl", "Base", "Abstract", "Util", "Utils", "Helper"}
BANNED_MODULES = {"util", "utils", "common", "helper", "helpers", "misc", "base", "impl"}
UNFINISHED = re.compile(
    r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|\bfor n" + r"ow\b(?! in|\[)"
)
MACHINE_PATH = re.compile(
    r"(?<![\w.$}])/(?:wo"
    + r"rk/(?:main|shared)|ro"
    + r"ot/|ho"
    + r"me/\w|Use"
    + r"rs/\w|opt/whe"
    + r"els)"
)
REGISTRY_HOST = re.compile(
    r"py"
    + r"pi\.org|python"
    + r"hosted|maven\.(?:apache\.)?o"
    + r"rg/|repo1?\.ma"
    + r"ven|npm"
    + r"js"
    r"|proxy\.go"
    + r"lang|crates\.i"
    + r"o|gh"
    + r"cr\.io|qu"
    + r"ay\.io|docker\.i"
    + r"o\b|sona"
    + r"type"
)


def words(name: str) -> set[str]:
    return set(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name))


@pytest.mark.slow
def test_names_are_plain_nouns(modules: dict[Path, ast.Module]) -> None:
    found = [
        f"{file}: {node.name}"
        for file, tree in modules.items()
        for node in definitions(tree)
        if isinstance(node, ast.ClassDef) and words(node.name) & BANNED_WORDS
    ]
    found += [str(file) for file in modules if set(file.with_suffix("").parts) & BANNED_MODULES]
    assert not found, listed(found)


def test_tests_have_sentences_for_names(modules: dict[Path, ast.Module]) -> None:
    short = [
        str(file)
        for file in modules
        if file.parts[:2] == ("tests", "broker") and file.name.startswith("test_")
        if file.stem.count("_") < 3
    ]
    assert not short, listed(short)


def lines_with(pattern: re.Pattern[str], texts: dict[Path, str]) -> list[str]:
    return [
        f"{file}:{number}: {line.strip()[:80]}"
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.slow
def test_nothing_is_left_for_later(texts: dict[Path, str]) -> None:
    assert not (found := lines_with(UNFINISHED, texts)), listed(found)


@pytest.mark.slow
def test_no_path_of_one_machine(texts: dict[Path, str]) -> None:
    assert not (found := lines_with(MACHINE_PATH, texts)), listed(found)


def test_no_host_of_a_package_registry(texts: dict[Path, str]) -> None:
    assert not (found := lines_with(REGISTRY_HOST, texts)), listed(found)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (UNFINISHED, "# TO" + "DO: more"),
        (UNFINISHED, "this is enough for n" + "ow"),
        (MACHINE_PATH, 'open("/ro' + 'ot/x")'),
        (MACHINE_PATH, "see /ho" + "me/ann/file"),
        (REGISTRY_HOST, "https://py" + "pi.org/simple"),
        (REGISTRY_HOST, "image: gh" + "cr.io/a/b"),
    ],
)
def test_the_patterns_match_what_they_mean(pattern: re.Pattern[str], line: str) -> None:
    assert lines_with(pattern, {Path("x"): "fine\n" + line}) == [f"x:2: {line}"]


def test_every_module_says_what_it_is(modules: dict[Path, ast.Module]) -> None:
    without = []
    for file, tree in modules.items():
        if file.parts[0] in ("streamer", "plugins", "dags") and tree.body:
            docstring = ast.get_docstring(tree)
            if not docstring:
                without.append(str(file))
    assert not without, listed(without)


@pytest.mark.slow
def test_functions_print_only_where_people_read(modules: dict[Path, ast.Module]) -> None:
    allowed = {("streamer", "cli"), ("streamer", "testing")}
    found = []
    for file, tree in modules.items():
        if file.parts[0] != "streamer" or file.parts[:2] in allowed:
            continue
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        names = (call.func.id for call in calls if isinstance(call.func, ast.Name))
        if "print" in names and file.name != "resolve.py":
            found.append(str(file))
    assert not found, listed(found)
