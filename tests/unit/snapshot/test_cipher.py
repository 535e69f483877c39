"""Encryption: what can be read with the key, and that nothing else opens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import ConfigError, SnapshotDamagedError
from streamer.snapshot.cipher import CHUNK_BYTES, HEADER_BYTES, TAG_BYTES, AesGcm, Range, read_key

CIPHER = AesGcm(bytes(range(32)))
SEALED = CHUNK_BYTES + TAG_BYTES


def sealed(content: bytes, place: str = "a/b", *, cipher: AesGcm = CIPHER) -> bytes:
    pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
    return b"".join(cipher.seal(pieces, place))


def ranges(raw: bytes) -> Range:
    def read(start: int, length: int | None) -> Iterator[bytes]:
        end = len(raw) if length is None else start + length
        for at in range(start, min(end, len(raw)), 90_001):
            yield raw[at : min(end, at + 90_001)]

    return read


def opened(raw: bytes, place: str = "a/b", *, start: int = 0, cipher: AesGcm = CIPHER) -> bytes:
    return b"".join(cipher.open(ranges(raw), place, start=start))


@given(
    st.one_of(
        st.integers(0, 1_000),
        st.sampled_from([CHUNK_BYTES + extra for extra in (-1, 0, 1)]),
        st.sampled_from([3 * CHUNK_BYTES + extra for extra in (-1, 0, 1)]),
    ),
    st.integers(0, 4 * CHUNK_BYTES),
)
def test_what_was_sealed_opens_from_any_aligned_byte(size: int, start: int) -> None:
    content = os.urandom(size)
    raw = sealed(content)
    aligned = CIPHER.aligned(min(start, size))
    assert len(raw) == CIPHER.stored_size(size)
    assert opened(raw) == content
    if aligned < size or size == 0:
        assert opened(raw, start=aligned) == content[aligned:]
    assert aligned <= start < aligned + CHUNK_BYTES or aligned <= size


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the header": lambda raw: b"X" + raw[1:],
    "a bit of the salt": lambda raw: raw[:10] + bytes([raw[10] ^ 1]) + raw[11:],
    "a bit of a chunk": lambda raw: raw[:500] + bytes([raw[500] ^ 1]) + raw[501:],
    "a bit of a tag": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "the last byte is gone": lambda raw: raw[:-1],
    "the last chunk is gone": lambda raw: raw[: HEADER_BYTES + 2 * SEALED],
    "the first chunk is gone": lambda raw: raw[:HEADER_BYTES] + raw[HEADER_BYTES + SEALED :],
    "a chunk in the middle is gone": lambda raw: (
        raw[: HEADER_BYTES + SEALED] + raw[HEADER_BYTES + 2 * SEALED :]
    ),
    "two chunks in the other order": lambda raw: (
        raw[:HEADER_BYTES]
        + raw[HEADER_BYTES + SEALED : HEADER_BYTES + 2 * SEALED]
        + raw[HEADER_BYTES : HEADER_BYTES + SEALED]
        + raw[HEADER_BYTES + 2 * SEALED :]
    ),
    "a byte more": lambda raw: raw + b"x",
    "all chunks twice": lambda raw: raw + raw[HEADER_BYTES:],
    "only the header": lambda raw: raw[:HEADER_BYTES],
    "nothing": lambda raw: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_does_not_open(change: Callable[[bytes], bytes]) -> None:
    raw = change(sealed(os.urandom(2 * CHUNK_BYTES + 100)))
    with pytest.raises(SnapshotDamagedError, match="a/b cannot be decrypted"):
        opened(raw)


def test_it_opens_in_its_own_place_and_with_its_own_key_only() -> None:
    raw = sealed(b"content")
    with pytest.raises(SnapshotDamagedError):
        opened(raw, "a/c")
    with pytest.raises(SnapshotDamagedError):
        opened(raw, cipher=AesGcm(b"x" * 32))


def test_the_same_content_looks_different_each_time_and_has_one_name() -> None:
    digest = "ab" * 32
    assert sealed(b"content") != sealed(b"content")
    assert CIPHER.name(digest) == AesGcm(bytes(range(32))).name(digest)
    assert CIPHER.name(digest) not in (digest, AesGcm(b"x" * 32).name(digest))
    assert CIPHER.key_id != AesGcm(b"x" * 32).key_id


def test_a_file_that_was_sealed_before_still_opens() -> None:
    """Sealed by the first version of the format, with the key of this module."""
    raw = bytes.fromhex((Path(__file__).parent / "samples" / "sealed-1.hex").read_text().strip())
    assert opened(raw, "samples/sealed-1") == b"rows of the state"


def test_a_key_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(bytes(range(32)).hex() + "\n")
    path.chmod(0o600)
    assert opened(sealed(b"x"), cipher=read_key(path)) == b"x"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("ab" * 32, 0o640, "only its owner can read"),
        ("ab" * 32, 0o604, "only its owner can read"),
        ("ab" * 31, 0o600, "does not hold 64 hexadecimal digits"),
        ("zz" * 32, 0o600, "does not hold 64 hexadecimal digits"),
        ("", 0o600, "does not hold 64 hexadecimal digits"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_key_file_that_is_none_is_refused(
    tmp_path: Path, text: str | None, mode: int, said: str
) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=said) as raised:
        read_key(path)
    assert raised.value.hint
    assert not text or text not in raised.value.describe(), "it may be another secret"
