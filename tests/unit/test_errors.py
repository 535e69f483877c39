from __future__ import annotations

import inspect
import pickle

import pytest

from streamer import errors
from streamer.errors import OperationRefusedError, ProcessingError, StreamerError

LEAVES = [
    found
    for _name, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, StreamerError)
]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_the_docstring_prints_the_whole_tree(kind: type[StreamerError]) -> None:
    assert errors.__doc__ is not None
    line = next(row for row in errors.__doc__.splitlines() if kind.__name__ in row)
    depth = kind.__mro__.index(StreamerError)
    own_code = line.split(kind.__name__)[1].split()[:1]
    assert own_code in ([str(kind.exit_code)], []), "no code means the parent's"
    assert own_code or kind.exit_code == kind.__mro__[1].exit_code
    assert (len(line) - len(line.lstrip(" │├└─"))) // 4 == depth + 1
    assert kind.__name__ in errors.__all__


def test_the_message_and_the_hint_are_apart() -> None:
    error = OperationRefusedError("the topic exists", hint="remove it first")

    assert str(error) == "the topic exists"
    assert error.describe() == "the topic exists\nhint: remove it first"
    assert StreamerError("alone").describe() == "alone"
    assert error.exit_code == 3


def test_a_record_is_named_with_its_cause() -> None:
    error = ProcessingError(
        "the aggregate failed", topic="in", partition=3, offset=17, key="k", hint="fix it"
    )
    error.__cause__ = KeyError("price")

    assert str(error) == "the aggregate failed (in/3 offset 17 key 'k')"
    assert error.describe().splitlines()[1:] == ["cause: KeyError: 'price'", "hint: fix it"]


def test_errors_cross_process_borders() -> None:
    error = ProcessingError("m", topic="t", partition=1, offset=2, key=b"k", hint="h")

    copy = pickle.loads(pickle.dumps(error))

    assert copy.describe() == error.describe()
    assert (copy.topic, copy.partition, copy.offset, copy.key) == ("t", 1, 2, b"k")
