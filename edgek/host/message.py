"""Protobuf messages as tables: names and numbers of fields are facts, and encoding is walking them.

A message is a dict. Decoding fills every field the table knows (a message that is absent is None) and passes over the others; encoding leaves out
what is missing, None or the field's zero. Both directions, so that the same tables serve a client and a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from edgek.model import protobuf

Values = dict[str, Any]


@attrs.frozen
class Field:
    number: int
    empty: Callable[[], Any]  # the value when nothing came
    encode: Callable[[int, Any], bytes]
    merge: Callable[[Any, int | bytes], Any]  # (what came so far, one more off the wire) -> what there is now


class Message:
    """``Message(name=text(1), attempt=number(4))``."""

    def __init__(self, **fields: Field) -> None:
        self._fields = fields
        self._by_number = {field.number: (name, field) for name, field in fields.items()}

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """Raises KeyError for a name the table does not have: a misspelt field must not vanish."""
        parts = []
        for name, value in values.items():
            field = self._fields[name]
            if value is not None and (value or field.empty() is None):
                parts.append(field.encode(field.number, value))
        return b"".join(parts)

    def decode(self, buffer: bytes) -> Values:
        """Raises ``protobuf.DecodeError``."""
        values = {name: field.empty() for name, field in self._fields.items()}
        for number, _, raw in protobuf.fields(buffer):
            known = self._by_number.get(number)
            if known is not None:
                name, field = known
                values[name] = field.merge(values[name], raw)
        return values


def text(number: int) -> Field:
    return Field(number, str, protobuf.bytes_field, lambda _, raw: _bytes(raw).decode(errors="replace"))


def raw(number: int) -> Field:
    return Field(number, bytes, protobuf.bytes_field, lambda _, raw: _bytes(raw))


def number(number: int) -> Field:
    """int32, int64, uint32 and enums."""
    return Field(number, int, protobuf.varint_field, lambda _, raw: protobuf.signed(_int(raw)))


def unsigned(number: int) -> Field:
    """uint64: only there the highest bit is not a sign."""
    return Field(number, int, protobuf.varint_field, lambda _, raw: _int(raw))


def flag(number: int) -> Field:
    return Field(number, bool, lambda n, value: protobuf.varint_field(n, int(value)), lambda _, raw: bool(raw))


def sub(number: int, message: Message) -> Field:
    """A message within. An empty dict is sent as an empty message, None is not sent."""
    return Field(number, lambda: None, lambda n, value: protobuf.bytes_field(n, message.encode(value)), lambda _, raw: message.decode(_bytes(raw)))


def texts(number: int) -> Field:
    return Field(number, list, _each, lambda so_far, raw: [*so_far, _bytes(raw).decode(errors="replace")])


def numbers(number: int) -> Field:
    return Field(number, list, protobuf.packed_field, lambda so_far, raw: so_far + _unpacked(raw))


def many(number: int, message: Message) -> Field:
    def merge(so_far: list[Values], raw: int | bytes) -> list[Values]:
        so_far.append(message.decode(_bytes(raw)))
        return so_far

    return Field(number, list, lambda n, values: _each(n, map(message.encode, values)), merge)


def labels(number: int) -> Field:
    """``map<string, string>``."""

    def merge(so_far: dict[str, str], raw: int | bytes) -> dict[str, str]:
        entry = _ENTRY.decode(_bytes(raw))
        so_far[entry["key"]] = entry["value"]
        return so_far

    return Field(number, dict, lambda n, pairs: b"".join(protobuf.map_field(n, key, value) for key, value in pairs.items()), merge)


_ENTRY = Message(key=text(1), value=text(2))
EMPTY = Message()
ANY = Message(type_url=text(1), value=raw(2))
TIMESTAMP = Message(seconds=number(1), nanos=number(2))


def _each(number: int, values: Iterable[bytes | str]) -> bytes:
    return b"".join(protobuf.bytes_field(number, value) for value in values)


def _unpacked(raw: int | bytes) -> list[int]:
    found = [raw] if isinstance(raw, int) else protobuf.varints(raw)
    return [protobuf.signed(value) for value in found]


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise protobuf.DecodeError("a number where bytes belong")
    return raw


def _int(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise protobuf.DecodeError("bytes where a number belongs")
    return raw
