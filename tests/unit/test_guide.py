"""The guide says what is so: every program on it runs, each as a module of its own."""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs() -> dict[str, str]:
    """The program of each section that has one."""
    _head, *parts = _SECTION.split(GUIDE.read_text(encoding="utf-8"))
    found = {}
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        blocks = _PYTHON.findall(text)
        assert len(blocks) <= 1, f"{title}: one program a section"
        if blocks:
            found[title] = blocks[0]
    return found


PROGRAMS = programs()


def test_no_program_is_overlooked() -> None:
    assert len(PROGRAMS) == GUIDE.read_text(encoding="utf-8").count("```python") >= 13


@pytest.mark.parametrize("section", PROGRAMS)
def test_a_program_runs_and_asserts_what_it_says(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PROGRAMS[section]
    assert "with TopologyTestDriver(" in text
    assert "    assert " in text
    (tmp_path / "program.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        runpy.run_path("program.py", run_name="__main__")
