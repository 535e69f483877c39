"""The page on operations has the messages and metrics that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer import metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
GAP = "\0"


def messages() -> list[str]:
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def texts_of_the_code() -> Iterator[str]:
    """Every text in the code, with a gap where something is put in."""
    for file in (ROOT / "streamer").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%[sd]", GAP, node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else GAP for part in node.values
                )
                yield "".join(map(str, parts))


def is_said(message: str, texts: list[str]) -> bool:
    """Whether one text of the code has all parts of the message, in their order."""
    parts = [re.escape(part) for part in re.split(r"<[^>]+>", message)]
    pattern = re.compile(".*".join(parts) + r"(\n.*)?", re.DOTALL)
    return any(pattern.fullmatch(text) for text in texts if GAP in text or text == message)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Not made while tests are collected, which each of the processes does that share them."""
    return list(texts_of_the_code())


# How many of a noun there are is told by a text of its own.
PLURAL = {"the topic does not exist: <topic>", "the topics do not exist: <topics>"}


@pytest.mark.slow
@pytest.mark.parametrize("message", sorted({*messages()} - PLURAL))
def test_a_message_is_one_of_the_code(message: str, texts: list[str]) -> None:
    assert is_said(message, texts)


def test_a_message_that_nobody_says_is_seen(texts: list[str]) -> None:
    assert not is_said("the state in <path> was wiped", texts)
    assert not is_said("<anything>: unknown settings <name>", texts)


def test_every_metric_on_the_page_exists() -> None:
    named = set(re.findall(r"`(streamer_\w+)`", PAGE))
    assert len(named) > 10
    assert named <= {metric.name for metric in metrics.declared()}
