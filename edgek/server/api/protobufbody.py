"""Protobuf bodies, decoded with the field table of ``model/structs.py`` into the dicts that their JSON twins would give.

Typed Go clients send them and do not fall back. Nothing is ever answered in protobuf. The envelope: ``k8s\\0`` and a message Unknown {1: TypeMeta
{1: apiVersion, 2: kind}, 2: the object, 3: encoding, 4: content type}.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson

from edgek.model import instants, protobuf, structs
from edgek.model.objects import Object
from edgek.model.structs import Field, Struct

MAGIC = b"k8s\0"


class NotAnEnvelope(ValueError):
    """The body does not begin as one."""


def opened(raw: bytes) -> tuple[str, str, bytes]:
    """``(apiVersion, kind, message)`` of an envelope. Raises NotAnEnvelope, protobuf.DecodeError."""
    if not raw.startswith(MAGIC):
        raise NotAnEnvelope("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    names = {1: "", 2: ""}
    message = b""
    for number, wire_type, value in protobuf.fields(raw[len(MAGIC) :]):
        if wire_type != protobuf.BYTES or not isinstance(value, bytes):
            continue
        if number == 1:
            names.update({key: text.decode() for key, _, text in protobuf.fields(value) if isinstance(text, bytes)})
        elif number == 2:
            message = value
    return names[1], names[2], message


def decode(struct: Struct, message: bytes) -> Object:
    """Zero values that JSON would leave out are left out. Raises protobuf.DecodeError (a ValueError)."""
    obj: Object = {}
    for number, wire_type, value in protobuf.fields(message):
        field = struct.wire.get(number)
        if field is None:
            continue
        if field.inlined:
            obj.update(decode(structs.named(field.base), _bytes(value)))
        elif field.many == "[]":
            items = obj.setdefault(field.name, [])
            if wire_type == protobuf.BYTES and field.base in _NUMBERS:
                items.extend(_NUMBERS[field.base](number) for number in protobuf.varints(_bytes(value)))
            else:
                items.append(_one(field, value))
        elif field.many == "map:":
            key, member = _entry(field, _bytes(value))
            obj.setdefault(field.name, {})[key] = member
        else:
            member = _one(field, value)
            if member is not None and (member or field.pointer or field.is_go_struct or not field.omitempty):
                obj[field.name] = member
    return obj


def _entry(field: Field, message: bytes) -> tuple[str, Any]:
    key = ""
    member: Any = _EMPTY.get(field.base, {})
    for number, _, value in protobuf.fields(message):
        if number == 1:
            key = _bytes(value).decode()
        else:
            member = _one(field, value)
    return key, member


def _one(field: Field, value: int | bytes) -> Any:
    if field.base in _NUMBERS:
        return _NUMBERS[field.base](_number(value))
    convert = _MESSAGES.get(field.base)
    if convert is not None:
        return convert(_bytes(value))
    return decode(structs.named(field.base), _bytes(value))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise protobuf.DecodeError("wrong wireType = 0")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise protobuf.DecodeError("wrong wireType = 2")
    return value


def _string(value: bytes) -> str:
    return value.decode()


def _time(message: bytes) -> str | None:
    return _instant(message, "-%m-%dT%H:%M:%SZ")


def _micro_time(message: bytes) -> str | None:
    return _instant(message, "-%m-%dT%H:%M:%S.%fZ")


def _instant(message: bytes, layout: str) -> str | None:
    """Nothing at all stands for the zero time, which is null. ``layout`` begins behind the year."""
    if not message:
        return None
    parts = {number: protobuf.signed(_number(value)) for number, _, value in protobuf.fields(message)}
    try:
        moment = instants.of_unix(parts.get(1, 0), parts.get(2, 0))
    except OverflowError:
        raise protobuf.DecodeError("time out of range") from None
    return f"{moment.year:04}{moment.strftime(layout)}"  # the C library leaves early years short


def _quantity(message: bytes) -> str:
    return next((_bytes(value).decode() for number, _, value in protobuf.fields(message) if number == 1), "0") or "0"


def _int_or_string(message: bytes) -> int | str:
    parts = {number: value for number, _, value in protobuf.fields(message)}
    if parts.get(1):
        return _bytes(parts.get(3, b"")).decode()
    return protobuf.signed(_number(parts.get(2, 0)))


def _raw(message: bytes) -> Any:
    """Embedded JSON (or, from some clients, an envelope within the envelope)."""
    raw = next((_bytes(value) for number, _, value in protobuf.fields(message) if number == 1), b"")
    if raw.startswith(MAGIC):
        api_version, kind, inner = opened(raw)
        group, _, version = api_version.rpartition("/")
        struct = structs.root(group, version, kind)
        return None if struct is None else {"apiVersion": api_version, "kind": kind, **decode(struct, inner)}
    return orjson.loads(raw) if raw else None


def _strings(message: bytes) -> list[str]:
    return [_bytes(value).decode() for _, _, value in protobuf.fields(message)]


def _union(name: str) -> Callable[[bytes], Any]:
    """A schema where several shapes are allowed: the member that is set."""

    def convert(message: bytes) -> Any:
        schema = structs.named(structs.UNION_SCHEMA)
        parts: dict[int, list[int | bytes]] = {}
        for number, _, value in protobuf.fields(message):
            parts.setdefault(number, []).append(value)
        one, several = (2, 1) if name == "Bool" else (1, 2)
        if one in parts:
            return decode(schema, _bytes(parts[one][0]))
        if name == "Bool":
            return bool(parts.get(several, [0])[0])
        if name == "StringArray":
            return [_bytes(value).decode() for value in parts.get(several, ())]
        return [decode(schema, _bytes(value)) for value in parts.get(several, ())]

    return convert


_NUMBERS: dict[str, Callable[[int], Any]] = {"bool": bool, "int32": protobuf.signed, "int64": protobuf.signed, "double": protobuf.double}
_MESSAGES: dict[str, Callable[[bytes], Any]] = {
    "string": _string,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "Raw": _raw,
    "wrapped:string": _strings,
    **{f"apiextensions/v1.JSONSchemaPropsOr{name}": _union(name) for name in ("Array", "Bool", "StringArray")},
}
_EMPTY: dict[str, Any] = {"string": "", "bytes": "", "bool": False, "int32": 0, "int64": 0, "double": 0, "Quantity": "0", "wrapped:string": []}
