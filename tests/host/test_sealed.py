"""What a passphrase opens, and what shows that it was touched."""

from __future__ import annotations

import io

import pytest

from edgek.host import sealed
from edgek.host.sealed import MAGIC, PIECE_BYTES, CannotOpen


def seal(content: bytes, passphrase: str = "correct horse") -> bytes:
    file = io.BytesIO()
    writer = sealed.Writer(file, passphrase)
    for start in range(0, len(content), 10_000):
        writer.write(content[start : start + 10_000])
    writer.close()
    return file.getvalue()


def unseal(packed: bytes, passphrase: str = "correct horse") -> bytes:
    file = io.BytesIO(packed)
    assert file.read(len(MAGIC)) == MAGIC
    return sealed.Reader(file, passphrase).read()


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_what_goes_in_comes_out(size: int):
    content = bytes(number % 251 for number in range(size))
    assert unseal(seal(content)) == content


def test_it_can_be_read_in_small_parts():
    file = io.BytesIO(seal(b"abc" * 50_000))
    file.read(len(MAGIC))
    reader = sealed.Reader(file, "correct horse")
    parts = iter(lambda: reader.read(7_001), b"")
    assert b"".join(parts) == b"abc" * 50_000


def test_another_passphrase_opens_nothing():
    with pytest.raises(CannotOpen):
        unseal(seal(b"secret"), "wrong horse")


def test_the_same_content_never_looks_the_same():
    assert seal(b"secret") != seal(b"secret")
    assert b"secret" not in seal(b"secret")


@pytest.mark.parametrize("damage", ["flip", "cut", "swap", "leave out", "cut at a piece"])
def test_any_change_shows(damage: str):
    packed = bytearray(seal(bytes(4 * PIECE_BYTES)))
    head, piece = len(MAGIC) + 16, PIECE_BYTES + 16
    first, second = packed[head : head + piece], packed[head + piece : head + 2 * piece]
    match damage:
        case "flip":
            packed[-40] ^= 1
        case "cut":
            del packed[-40:]
        case "swap":
            packed[head : head + 2 * piece] = second + first
        case "leave out":
            del packed[head : head + piece]
        case "cut at a piece":
            del packed[head + 2 * piece :]
    with pytest.raises(CannotOpen):
        unseal(bytes(packed))
