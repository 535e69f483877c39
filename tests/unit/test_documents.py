"""What the documents say is tried: the README's application runs, every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PYTHON = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links write them."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", head).strip().lower().replace(" ", "-") for head in heads}


def broken_links(document: Path, text: str) -> list[str]:
    broken = []
    for link in _LINK.findall(text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert not broken_links(document, document.read_text())


def test_a_broken_link_is_seen() -> None:
    text = "[a](docs/nothing.md) [b](#no-such-heading) [c](#status) [d](docs/cli.md)"
    assert broken_links(ROOT / "README.md", text) == ["docs/nothing.md", "#no-such-heading"]


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for page in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        number, title = page.read_text().splitlines()[0].removeprefix("# ").split(" ", 1)
        assert f"| {number} | [{title}]({page.name}) |" in index
        assert page.name.startswith(number)


@pytest.mark.slow
def test_the_readmes_application_passes_its_test(tmp_path: Path) -> None:
    blocks = dict(_PYTHON.findall((ROOT / "README.md").read_text()))
    assert set(blocks) == {"shop.py", "test_shop.py"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_readmes_application_has_about_twenty_lines() -> None:
    blocks = dict(_PYTHON.findall((ROOT / "README.md").read_text()))
    lines = [line for line in blocks["shop.py"].splitlines() if line.strip()]
    assert len(lines) <= 20
