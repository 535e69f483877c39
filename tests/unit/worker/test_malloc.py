"""What is freed goes back to the system, and threads share two heaps."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps freed memory like this"
)

# Frees a large block, takes one of a megabyte, and has threads take some each.
PROGRAM = """
import ctypes, json, os, re, sys, threading
from streamer.worker.malloc import return_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.free.argtypes = libc.fclose.argtypes = [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.malloc.argtypes = [ctypes.c_size_t]

def said():
    file = libc.fopen(sys.argv[1].encode(), b"w")
    libc.malloc_info(0, file)
    libc.fclose(file)
    text = open(sys.argv[1]).read()
    mapped = re.search(r'<total type="mmap" count="(\\d+)"', text)
    return int(mapped[1]), len(re.findall("<heap nr=", text))

return_freed_memory()
libc.free(libc.malloc(20 << 20))
before, _heaps = said()
block = libc.malloc(1 << 20)
after, _heaps = said()
ready, over = threading.Barrier(9), threading.Event()

def take():
    block = libc.malloc(1000)
    ready.wait()
    over.wait()

for _ in range(8):
    threading.Thread(target=take, daemon=True).start()
ready.wait()
print(json.dumps([after - before, said()[1]]))
over.set()
"""


def _run(path: str, **environment: str) -> tuple[int, int]:
    """(blocks of its own that a megabyte took, heaps of nine threads)."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path],
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    mapped, heaps = json.loads(done.stdout)
    return mapped, heaps


def test_large_blocks_go_back_and_heaps_are_few(tmp_path: object) -> None:
    mapped, heaps = _run(f"{tmp_path}/said")
    assert mapped == 1
    assert heaps <= 2


def test_what_the_user_set_stays(tmp_path: object) -> None:
    mapped, heaps = _run(f"{tmp_path}/said", MALLOC_ARENA_MAX="5")
    assert mapped == 0
    assert heaps == 5
