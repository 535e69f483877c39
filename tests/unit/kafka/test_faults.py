"""What the binding throws behind a fatal error is no exception, and is caught all the same."""

from __future__ import annotations

import ctypes
import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamer.errors import FencedError
from streamer.kafka.attempts import Attempts
from streamer.kafka.faults import as_exception, producer_fault

FENCED = KafkaError(KafkaError._FENCED, "fenced", fatal=True)


def throw() -> None:
    """As the binding does: past all checks that what is raised is an exception."""
    restore = ctypes.pythonapi.PyErr_Restore
    restore.argtypes = [ctypes.py_object, ctypes.py_object, ctypes.c_void_p]
    restore.restype = None
    for kept in (KafkaError, FENCED):  # it takes over references
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    restore(KafkaError, FENCED, None)


def test_a_thrown_error_becomes_an_exception() -> None:
    with pytest.raises(KafkaException) as raised, as_exception:
        throw()
    assert raised.value.args[0] is FENCED


def test_other_exceptions_and_none_pass() -> None:
    with as_exception:
        pass
    with pytest.raises(ValueError, match="mine"), as_exception:
        raise ValueError("mine")


def test_a_request_that_throws_one_is_told_as_a_fault() -> None:
    attempts = Attempts(1.0, "nowhere", stopping=threading.Event())
    with pytest.raises(Exception, match="fenced") as raised:
        attempts("taking over", lambda _left_s: throw())
    assert type(raised.value).__name__ == "FencedError"


def test_a_call_that_is_refused_behind_a_fatal_error_is_a_fence() -> None:
    said = KafkaException(KafkaError(KafkaError._FATAL, "Unable to produce message"))
    problem = producer_fault(said, "writing 3 bytes to t")
    assert isinstance(problem, FencedError)
    assert "writing 3 bytes to t" in str(problem)
