from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from streamer import log


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def _lines(level: str, log_format: str) -> io.StringIO:
    stream = io.StringIO()
    log.configure(level, log_format, stream=stream)
    return stream


def test_a_text_line_quotes_what_needs_it_and_names_the_task() -> None:
    stream = _lines("INFO", "text")
    with log.task_context("0_3"):
        logging.getLogger("streamer.restore").info(
            'restored "all"', extra=log.fields(records=8, topic="a b")
        )
    at, rest = stream.getvalue().split(" ", 1)
    assert at.startswith("at=20")
    assert at.endswith("Z")
    assert rest == (
        'level=info from=restore task=0_3 msg="restored \\"all\\"" records=8 topic="a b"\n'
    )


def test_a_json_line_is_one_object_with_the_exception() -> None:
    stream = _lines("INFO", "json")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("app").exception("failed %d", 3, extra=log.fields(path=b"x"))
    [line] = stream.getvalue().splitlines()
    parts = json.loads(line)
    assert parts["msg"] == "failed 3"
    assert parts["from"] == "app"
    assert parts["level"] == "error"
    assert parts["path"] == "b'x'"
    assert parts["exception"].endswith("ValueError: boom")
    assert "task" not in parts


def test_the_level_filters_and_a_second_configure_replaces_the_first() -> None:
    first = _lines("INFO", "text")
    second = _lines("warning", "text")
    logging.getLogger("streamer.x").info("quiet")
    logging.getLogger("streamer.x").warning("loud")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_a_message_stays_on_its_line() -> None:
    stream = _lines("INFO", "text")
    logging.getLogger("streamer.x").info("one\ntwo")
    assert stream.getvalue().endswith('msg="one\\ntwo"\n')
