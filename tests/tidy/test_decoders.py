"""msgspec learns of a type when it is first decoded, and crashes the process where several threads
do that at once: decoders are made at import, by one thread."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

STREAMER = Path(__file__).parents[2] / "streamer"
# Types of an application, of which its serde has made a decoder; and a tool of one thread.
OTHERS = {"http/catalog.py", "testing/history.py"}

MEETING = """
import sys, threading
from streamer.snapshot.manifest import File, Manifest, decode, encode

file = File(name="CURRENT", size=1, sha256="0" * 64, object=f"{'0' * 64}-{'a' * 32}", stored_size=1)
raw = encode(
    Manifest(version=1, id="a" * 32, sequence=1, application="app", task="0_1", layout=1,
             created_ms=1, created_by="w", store_format="1", stores={}, changelog=[], input=[],
             files=[file])
)
sys.setswitchinterval(1e-6)
barrier, found = threading.Barrier(8), []

def read():
    barrier.wait()
    found.append(decode(raw, "here"))

threads = [threading.Thread(target=read) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
assert len(found) == 8
"""


@pytest.mark.slow
def test_no_type_is_met_while_decoding() -> None:
    found = [
        f"{path.relative_to(STREAMER)}:{node.lineno}"
        for path in sorted(STREAMER.rglob("*.py"))
        if str(path.relative_to(STREAMER)) not in OTHERS and ".decode" in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("json.decode", "msgpack.decode"))
        and any(each.arg == "type" for each in node.keywords)
    ]
    assert not found, f"make a Decoder of the module instead: {', '.join(found)}"


@pytest.mark.slow
def test_manifests_are_read_by_several_threads_at_once() -> None:
    for _ in range(5):
        subprocess.run([sys.executable, "-c", MEETING], check=True, timeout=240)
