"""Records as lines, and the commands that need no broker to say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.cli.main import main
from streamer.cli.records import as_json, as_text, parsed
from streamer.errors import ConfigError
from streamer.record import Record


def test_text_is_a_key_a_tab_and_a_value() -> None:
    lines = ["ann\t5\r", "", "bob\ta\tb", "\t"]
    assert parsed(lines, as_json=False, now_ms=7) == [
        Record(b"ann", b"5", 7),
        Record(b"bob", b"a\tb", 7),
    ]


def test_json_may_lack_what_it_likes_and_has_times_and_headers() -> None:
    lines = [
        '{"key": "ann", "value": {"cents": 5}, "timestamp_ms": 3, "headers": [["h", "x"]]}',
        '{"key": 5, "value": "as it is"}',
        '{"key": "ann", "value": null}',
        '{"value": true}',
    ]
    assert parsed(lines, as_json=True, now_ms=7) == [
        Record(b"ann", b'{"cents": 5}', 3, [("h", b"x")]),
        Record(b"5", b"as it is", 7),
        Record(b"ann", None, 7),
        Record(None, b"true", 7),
    ]


@pytest.mark.parametrize(
    ("line", "as_json", "said"),
    [
        ("ann 5", False, "line 2 has no TAB between key and value: 'ann 5'"),
        ("ann\t5", True, "line 2 is not JSON: "),
        ('"ann"', True, "line 2 is not an object with key, value, timestamp_ms, headers"),
        ('{"kee": 1}', True, "line 2 is not an object with key, value, timestamp_ms, headers"),
        ('{"timestamp_ms": "now"}', True, "line 2: timestamp_ms is 'now', not milliseconds"),
        ('{"headers": {"a": 1}}', True, "line 2: headers are {'a': 1}"),
    ],
)
def test_a_wrong_line_is_named(line: str, as_json: bool, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed(["", line], as_json=as_json, now_ms=0)
    assert str(error.value).startswith(said)


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    record = Record(b"ann\0\xff", b"a\nb\tc", 3, [("h", None)], "t", 2, 9)
    assert as_text(record) == "ann\\x00\\xff\ta\\nb\\tc"
    assert as_text(Record(b"ann", None, 3)) == "ann\tnull"
    assert json.loads(as_json(record)) == {
        "partition": 2,
        "offset": 9,
        "timestamp_ms": 3,
        "key": "ann\0\\xff",
        "value": "a\nb\tc",
        "headers": [["h", None]],
    }


def test_what_is_printed_as_json_can_be_written_again() -> None:
    record = Record(b"ann", b'{"a": "\xc3\xa4"}', 3, [("h", b"x")], "t", 2, 9)
    (again,) = parsed([as_json(record)], as_json=True, now_ms=7)
    assert again == Record(record.key, record.value, 3, record.headers)


@pytest.mark.parametrize("command", ["topic", "produce", "read"])
def test_without_a_sandbox_it_is_said_how_to_get_one(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sandbox", command, "purchases", "--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"streamer: no sandbox answers in {tmp_path}\n"
        "hint: start it with `streamer sandbox up`, or give --bootstrap-servers\n"
    )


@pytest.mark.parametrize("option", ["--count", "--partitions"])
def test_numbers_begin_at_one(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = "read" if option == "--count" else "topic"
    with pytest.raises(SystemExit):
        main(["sandbox", command, "purchases", option, "0"])
    assert "'0' is not a number, 1 or more" in capsys.readouterr().err
