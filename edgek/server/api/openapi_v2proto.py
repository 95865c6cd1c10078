"""The OpenAPI v2 document in protobuf: older kubectl, Helm and Terraform read nothing else.

Encodes the JSON form into ``openapi.v2.Document`` as gnostic defines it, those members of it that edgek's documents have.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgek.model.protobuf import bytes_field, double_field, varint_field

_Encoder = Callable[[int, Any], bytes]


def encode(document: Mapping[str, Any]) -> bytes:
    return _message(document, _DOCUMENT)


def _message(value: Mapping[str, Any], members: Mapping[str, tuple[int, _Encoder]], extensions: int = 0) -> bytes:
    """A message with the members that the table names; vendor extensions go to the field ``extensions``."""
    parts = []
    for name, member in value.items():
        if name in members:
            number, encoder = members[name]
            parts.append(encoder(number, member))
        elif extensions and name.startswith("x-"):
            parts.append(_named(extensions, name, _any(member)))
    return b"".join(parts)


def _named(number: int, name: str, value: bytes) -> bytes:
    return bytes_field(number, bytes_field(1, name) + bytes_field(2, value))


def _any(value: Any) -> bytes:
    """gnostic's Any carries YAML, of which JSON is a part."""
    return bytes_field(2, json.dumps(value, separators=(",", ":")) + "\n")


def _text(number: int, value: Any) -> bytes:
    return bytes_field(number, str(value))


def _texts(number: int, value: Iterable[str]) -> bytes:
    return b"".join(bytes_field(number, item) for item in value)


def _number(number: int, value: Any) -> bytes:
    return varint_field(number, int(value))


def _double(number: int, value: Any) -> bytes:
    return double_field(number, float(value))


def _value(number: int, value: Any) -> bytes:
    return bytes_field(number, _any(value))


def _values(number: int, value: Iterable[Any]) -> bytes:
    return b"".join(bytes_field(number, _any(item)) for item in value)


def _info(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, _message(value, {"title": (1, _text), "version": (2, _text)}))


def _schema(value: Mapping[str, Any]) -> bytes:
    return _message(value, _SCHEMA, 31)


def _one_schema(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, _schema(value))


def _schemas(number: int, value: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(bytes_field(number, _schema(item)) for item in value)


def _named_schemas(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, b"".join(_named(1, name, _schema(schema)) for name, schema in value.items()))


def _additional(number: int, value: Any) -> bytes:
    return bytes_field(number, varint_field(2, value) if isinstance(value, bool) else bytes_field(1, _schema(value)))


def _type(number: int, value: Any) -> bytes:
    return bytes_field(number, _texts(1, [value] if isinstance(value, str) else value))


def _items(number: int, value: Any) -> bytes:
    return bytes_field(number, _schemas(1, value if isinstance(value, list) else [value]))


def _paths(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, b"".join(_named(2, path, _message(item, _PATH_ITEM, 10)) for path, item in value.items()))


def _operation(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, _message(value, _OPERATION, 13))


def _parameters(number: int, value: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(bytes_field(number, bytes_field(1, _parameter(item))) for item in value)


def _parameter(value: Mapping[str, Any]) -> bytes:
    if value["in"] == "body":
        return bytes_field(1, _message(value, _BODY_PARAMETER, 6))
    return _plain_parameter(tuple(value.items()))


@functools.lru_cache(maxsize=64)
def _plain_parameter(members: tuple[tuple[str, Any], ...]) -> bytes:
    """There are thousands in a document, and a dozen different ones."""
    value = dict(members)
    if value["in"] == "query":
        return bytes_field(2, bytes_field(3, _message(value, _QUERY_PARAMETER, 23)))
    return bytes_field(2, bytes_field(4, _message(value, _PATH_PARAMETER, 22)))


def _responses(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, b"".join(_named(1, code, bytes_field(1, _message(response, _RESPONSE, 5))) for code, response in value.items()))


def _response_schema(number: int, value: Mapping[str, Any]) -> bytes:
    return bytes_field(number, bytes_field(1, _schema(value)))


_Members = Mapping[str, tuple[int, _Encoder]]

_DOCUMENT: _Members = {"swagger": (1, _text), "info": (2, _info), "paths": (8, _paths), "definitions": (9, _named_schemas)}
_PATH_ITEM: _Members = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "options": (6, _operation),
    "head": (7, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameters),
}
_OPERATION: _Members = {
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _parameters),
    "responses": (9, _responses),
}
_BODY_PARAMETER: _Members = {"description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _number), "schema": (5, _one_schema)}
_PATH_PARAMETER: _Members = {
    "required": (1, _number),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
    "uniqueItems": (19, _number),
}
_QUERY_PARAMETER: _Members = {
    "required": (1, _number),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (6, _text),
    "uniqueItems": (20, _number),
}
_RESPONSE: _Members = {"description": (1, _text), "schema": (2, _response_schema)}
_SCHEMA: _Members = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _value),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _number),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _number),
    "maxLength": (11, _number),
    "minLength": (12, _number),
    "pattern": (13, _text),
    "maxItems": (14, _number),
    "minItems": (15, _number),
    "uniqueItems": (16, _number),
    "maxProperties": (17, _number),
    "minProperties": (18, _number),
    "required": (19, _texts),
    "enum": (20, _values),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _items),
    "allOf": (24, _schemas),
    "properties": (25, _named_schemas),
    "example": (30, _value),
}
