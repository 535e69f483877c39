"""The reference pages say what the code says."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from streamer import metrics
from streamer.cli.main import parser
from streamer.cli.reference import PAGES, pages
from streamer.config import settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_code_writes_it(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == pages()[name], "run: python -m streamer.cli.reference"


def test_every_setting_and_metric_has_a_row() -> None:
    text = pages()
    for setting in settings():
        assert f"| `{setting.name}` |" in text["configuration.md"]
    for metric in metrics.declared():
        assert f"| `{metric.name}` |" in text["metrics.md"]


def test_every_command_has_a_section_and_every_option_a_row() -> None:
    page = pages()["cli.md"]
    seen = 0
    for command in _commands(parser()):
        section = page.partition(f"## {command.prog}\n")[2].partition("\n## ")[0]
        assert section, command.prog
        for option, action in command._option_string_actions.items():
            is_shown = action.help != argparse.SUPPRESS
            if is_shown and option not in ("-h", "--help", "--debug"):
                assert f"{option}" in section, (command.prog, option)
                seen += 1
    assert seen > 10


def _commands(command: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    groups = [each for each in command._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        return [command]
    return [leaf for group in groups for each in group.choices.values() for leaf in _commands(each)]
