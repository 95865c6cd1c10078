"""The protobuf wire: varints, tags and lengths, and nothing of any message.

Message tables live with their users: ``server/api/wire.py`` reads Kubernetes objects, ``host/rpc.py`` speaks to containerd. Both walk a message
with ``fields`` and build one by joining what the ``*_field`` functions return. See protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_LONGEST_VARINT_BITS = 63  # ten bytes carry 70 bits: the tenth starts at bit 63
_U64 = (1 << 64) - 1
_SMALLEST_TWO_BYTES = 1 << 7
_ONE_BYTE = [bytes((value,)) for value in range(_SMALLEST_TWO_BYTES)]  # most lengths, numbers and tags


class DecodeError(ValueError):
    """Not a protobuf message: cut off, or with a wire type that does not exist."""


def read_varint(buffer: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at ``at``, and where the next thing starts."""
    value = shift = 0
    while True:
        try:
            byte = buffer[at]
        except IndexError:
            raise DecodeError("unexpected EOF") from None
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _U64, at
        shift += 7
        if shift > _LONGEST_VARINT_BITS:
            raise DecodeError("integer overflow")


def fields(buffer: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Every field of a message as it comes: ``(number, wire type, value)``; a value is bytes for BYTES and an unsigned int otherwise."""
    at, end = 0, len(buffer)
    value: int | bytes
    while at < end:
        key, at = read_varint(buffer, at)
        number, wire_type = key >> 3, key & 7
        if not number:
            raise DecodeError(f"illegal tag {number} (wire type {wire_type})")
        if wire_type == VARINT:
            value, at = read_varint(buffer, at)
        elif wire_type == BYTES:
            length, at = read_varint(buffer, at)
            value, at = buffer[at : at + length], at + length
        elif wire_type == FIXED64:
            value, at = int.from_bytes(buffer[at : at + 8], "little"), at + 8
        elif wire_type == FIXED32:
            value, at = int.from_bytes(buffer[at : at + 4], "little"), at + 4
        else:
            raise DecodeError(f"illegal wireType {wire_type}")
        if at > end:
            raise DecodeError("unexpected EOF")
        yield number, wire_type, value


def varints(packed: bytes) -> Iterator[int]:
    """The numbers of a packed repeated field."""
    at = 0
    while at < len(packed):
        value, at = read_varint(packed, at)
        yield value


def signed(value: int) -> int:
    """A varint read as int32 or int64 (both are sent as 64-bit two's complement)."""
    return value - (1 << 64) if value >> 63 else value


def double(bits: int) -> float:
    """A FIXED64 read as a double."""
    found: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return found


def varint(value: int) -> bytes:
    """Encode a number; negative ones as 64-bit two's complement, ten bytes long."""
    if 0 <= value < _SMALLEST_TWO_BYTES:
        return _ONE_BYTE[value]
    value &= _U64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@functools.lru_cache(maxsize=1024)
def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def varint_field(number: int, value: int) -> bytes:
    """A bool, an enum or an integer. Written also when it is 0: leaving zeros out is the caller's choice."""
    return tag(number, VARINT) + varint(value)


def bytes_field(number: int, value: bytes | str) -> bytes:
    """A string, bytes, or a message that is already encoded."""
    if isinstance(value, str):
        value = value.encode()
    return tag(number, BYTES) + varint(len(value)) + value


def double_field(number: int, value: float) -> bytes:
    return tag(number, FIXED64) + struct.pack("<d", value)


def packed_field(number: int, values: Iterable[int]) -> bytes:
    """A repeated number, as proto3 sends it."""
    return bytes_field(number, b"".join(map(varint, values)))


def map_field(number: int, key: str, value: bytes | str) -> bytes:
    """One entry of a ``map<string, string>`` (or of a map to messages, encoded)."""
    return bytes_field(number, bytes_field(1, key) + bytes_field(2, value))
