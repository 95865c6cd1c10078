"""Answers in protobuf, for clients that take nothing else.

Every client in use names JSON beside it and gets JSON, which costs nothing to make. The opposite of ``protobufbody.py``, by the same table.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson

from edgek.model import instants, protobuf, structs
from edgek.model.objects import Object
from edgek.model.protobuf import bytes_field, varint_field
from edgek.model.structs import Field, Struct
from edgek.server.api.protobufbody import MAGIC


def sealed(obj: Object) -> bytes | None:
    """An object or list in its envelope, or None where its kind has no protobuf."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
    group, _, version = api_version.rpartition("/")
    struct = structs.root(group, version, kind)
    if struct is None:
        return None
    about = bytes_field(1, bytes_field(1, api_version) + bytes_field(2, kind))
    return MAGIC + about + bytes_field(2, encode(struct, obj)) + bytes_field(3, "") + bytes_field(4, "")


def encode(struct: Struct, obj: Object) -> bytes:
    """What the object has, in the order of the fields' numbers; null is what is not there."""
    parts = []
    for number, field in sorted(struct.wire.items()):
        if field.inlined:
            inner = encode(structs.named(field.base), obj)
            parts.append(bytes_field(number, inner))
        elif (value := obj.get(field.name)) is not None:
            parts.append(_field(field, value))
    return b"".join(parts)


def _field(field: Field, value: Any) -> bytes:
    if field.many == "[]":
        return b"".join(_one(field, field.number, item) for item in value)
    if field.many == "map:":
        return b"".join(bytes_field(field.number, bytes_field(1, name) + _one(field, 2, member)) for name, member in value.items())
    return _one(field, field.number, value)


def _one(field: Field, number: int, value: Any) -> bytes:
    if field.base in ("bool", "int32", "int64"):
        return varint_field(number, int(value or 0))
    if field.base == "double":
        return protobuf.double_field(number, float(value or 0))
    convert = _MESSAGES.get(field.base)
    if convert is not None:
        return bytes_field(number, b"" if value is None else convert(value))
    return bytes_field(number, encode(structs.named(field.base), value or {}))


def _instant(value: str) -> bytes:
    micros = round((instants.parse(value) - instants.of_unix(0)).total_seconds() * 1_000_000)
    return varint_field(1, micros // 1_000_000) + varint_field(2, micros % 1_000_000 * 1000)


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return varint_field(1, 1) + varint_field(2, 0) + bytes_field(3, value)
    return varint_field(1, 0) + varint_field(2, value) + bytes_field(3, "")


def _union(value: Any) -> bytes:
    """A schema, or what stands for one: see ``protobufbody``."""
    schema = structs.named(structs.UNION_SCHEMA)
    if isinstance(value, bool):
        return varint_field(1, value)
    if isinstance(value, dict):
        return bytes_field(1, encode(schema, value))
    return b"".join(bytes_field(2, item if isinstance(item, str) else encode(schema, item)) for item in value)


def _schema_or_bool(value: Any) -> bytes:
    schema = structs.named(structs.UNION_SCHEMA)
    return varint_field(1, value) if isinstance(value, bool) else varint_field(1, 1) + bytes_field(2, encode(schema, value))


_MESSAGES: dict[str, Callable[[Any], bytes]] = {
    "string": str.encode,
    "bytes": base64.b64decode,
    "Time": _instant,
    "MicroTime": _instant,
    "Quantity": lambda value: bytes_field(1, value),
    "IntOrString": _int_or_string,
    "Raw": lambda value: bytes_field(1, orjson.dumps(value)),
    "wrapped:string": lambda value: b"".join(bytes_field(1, item) for item in value),
    "apiextensions/v1.JSONSchemaPropsOrArray": _union,
    "apiextensions/v1.JSONSchemaPropsOrStringArray": _union,
    "apiextensions/v1.JSONSchemaPropsOrBool": _schema_or_bool,
}
