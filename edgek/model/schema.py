"""Hold an object against the structs of its kind: is it well-typed, what of it is unknown, and how does it print.

An API server in Go decodes an object into structs and prints them again. What clients see of that is done here on plain dicts: unknown fields
vanish, nulls and empty values appear or disappear as the struct's tags say, quantities and times take their canonical form. The order in a write is
``type_problem`` → ``decode_problems`` → ``normalise`` → ``apply_defaults``; each can be called again.

Kinds without a struct (custom resources) have their metadata treated so, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from edgek.model import instants, quantity, structs
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.structs import Field, Struct

_OPEN = Struct("", {**structs.TYPE_META, "metadata": Field("metadata", 1, structs.OBJECT_META, omitempty=True)}, {}, is_kind=True)

_LIMITS = {"int32": 1 << 31, "int64": 1 << 63}


def root(kind: Kind) -> Struct:
    """The struct of a kind; for a custom resource one that knows the metadata only (``is_open``)."""
    return structs.of_kind(kind) or _OPEN


def is_open(struct: Struct) -> bool:
    """Whether members that the struct does not know must be left alone."""
    return struct is _OPEN


# --- is it well-typed? ------------------------------------------------------------------------------------------------------------------------


def type_problem(kind: Kind, obj: Object) -> str | None:
    """The first value that does not fit its field, as Go's decoder says it; None where all fit."""
    struct = root(kind)
    return None if _is_clean(struct, obj) else next(_type_problems(struct, obj, ""), None)


def _is_clean(struct: Struct, value: Object) -> bool:
    """Whether all is known and well-typed, as it nearly always is: one quick walk that builds no paths. False may be wrong."""
    fields = struct.fields
    for name, member in value.items():
        field = fields.get(name)
        if field is None:
            if struct is _OPEN:
                continue
            return False
        if member is None:
            continue
        if not field.many:
            if not _fits(field, member):
                return False
        elif type(member) is list and field.many == "[]":
            for item in member:
                if item is not None and not _fits(field, item):
                    return False
        elif type(member) is not dict or field.many == "[]" or not all(item is None or _fits(field, item) for item in member.values()):
            return False
    return True


def _fits(field: Field, item: Any) -> bool:
    if field.base == "string":
        return type(item) is str
    struct = field.struct
    if struct is None:
        return _SCALARS[field.base](item) is None
    return type(item) is dict and _is_clean(struct, item)


def _type_problems(struct: Struct, value: Object, path: str) -> Iterator[str]:
    for name, member in value.items():
        field = struct.fields.get(name)
        if field is not None and member is not None:
            yield from _field_problems(struct, field, member, f"{path}.{name}" if path else name)


def _field_problems(owner: Struct, field: Field, value: Any, path: str) -> Iterator[str]:
    if field.many:
        if not isinstance(value, list if field.many == "[]" else dict):
            yield _mismatch(owner, field, value, path)
            return
        for item in value.values() if isinstance(value, dict) else value:
            if item is not None:
                yield from _field_problems(owner, field.element, item, path)
        return
    if field.base in structs.UNIONS:
        yield from _union_problems(owner, field, value, path)
    elif field.struct is not None:
        if isinstance(value, dict):
            yield from _type_problems(field.struct, value, path)
        else:
            yield _mismatch(owner, field, value, path)
    elif problem := _SCALARS[field.base](value):
        yield problem if problem is not _WRONG_TYPE else _mismatch(owner, field, value, path)


def _union_problems(owner: Struct, field: Field, value: Any, path: str) -> Iterator[str]:
    schema = structs.named(structs.UNION_SCHEMA)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield from _type_problems(schema, item, path)


def _mismatch(owner: Struct, field: Field, value: Any, path: str) -> str:
    return f"json: cannot unmarshal {_json_type(field, value)} into Go struct field {owner.go_name}.{path} of type {field.go_type}"


def _json_type(field: Field, value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    is_number = not field.many and field.base in ("int32", "int64", "IntOrString")
    return f"number {json.dumps(value)}" if is_number else "number"


_WRONG_TYPE = "wrong type"


def _check_type(*types: type) -> Callable[[Any], str | None]:
    return lambda value: None if isinstance(value, types) and not (isinstance(value, bool) and bool not in types) else _WRONG_TYPE


def _check_int(width: str) -> Callable[[Any], str | None]:
    limit = _LIMITS[width]
    return lambda value: None if type(value) is int and -limit <= value < limit else _WRONG_TYPE


def _check_int_or_string(value: Any) -> str | None:
    return None if isinstance(value, str) else _SCALARS["int32"](value)


def _check_quantity(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return quantity.FORMAT_PROBLEM
    try:
        quantity.of_json(value)
    except quantity.QuantityError as problem:
        return str(problem)
    return None


def _check_time(parse: Callable[[str], str]) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return _WRONG_TYPE
        try:
            parse(value)
        except instants.InstantError as problem:
            return str(problem)
        return None

    return check


def _check_bytes(value: Any) -> str | None:
    if not isinstance(value, str):
        return _WRONG_TYPE
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return f"illegal base64 data at input byte {_first_bad_base64(value)}"
    return None


def _first_bad_base64(value: str) -> int:
    good = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    return next((at for at, char in enumerate(value) if char not in good), len(value))


def _check_strings(value: Any) -> str | None:
    return None if isinstance(value, list) and all(isinstance(item, str) for item in value) else _WRONG_TYPE


_SCALARS: dict[str, Callable[[Any], str | None]] = {
    "string": _check_type(str),
    "bool": _check_type(bool),
    "double": _check_type(int, float),
    "int32": _check_int("int32"),
    "int64": _check_int("int64"),
    "IntOrString": _check_int_or_string,
    "Quantity": _check_quantity,
    "Time": _check_time(instants.canonical),
    "MicroTime": _check_time(instants.canonical_micros),
    "bytes": _check_bytes,
    "wrapped:string": _check_strings,
    "Raw": lambda value: None,
}


# --- what of it is unknown? -------------------------------------------------------------------------------------------------------------------


def decode_problems(kind: Kind, obj: Object, duplicates: Sequence[str] = ()) -> list[str]:
    """What strict decoding objects to, in order of occurrence: unknown fields, and those of ``duplicates`` that are known.

    ``duplicates`` is what ``wire.decode_body`` or ``patch.apply`` found: paths for JSON, finished texts for YAML
    (``line 6: key "paused" already set in map``) and JSON patch.
    """
    struct = root(kind)
    if not duplicates and _is_clean(struct, obj):
        return []
    texts = [text for text in duplicates if " " in text]
    seen = dict.fromkeys(texts)
    seen.update(dict.fromkeys(_strict_problems(struct, obj, "", set(duplicates))))
    return list(seen)


def strict_error(problems: Sequence[str]) -> str:
    """The problems as one text, as a refusal under ``fieldValidation=Strict`` gives it."""
    lines = [problem for problem in problems if problem.startswith("line ")]
    rest = [problem for problem in problems if not problem.startswith("line ")]
    head = ["yaml: unmarshal errors:\n  " + "\n  ".join(lines)] if lines else []
    return "strict decoding error: " + ", ".join(head + rest)


def _strict_problems(struct: Struct, value: Object, path: str, duplicates: Collection[str]) -> Iterator[str]:
    for name, member in value.items():
        where = f"{path}.{name}" if path else name
        field = struct.fields.get(name)
        if field is None and not is_open(struct):
            yield f'unknown field "{where}"'
            continue
        if where in duplicates:
            yield f'duplicate field "{where}"'
        if field is not None:
            yield from _strict_member(field, member, where, duplicates)
        elif duplicates:
            yield from _repeated(member, where, duplicates)


def _strict_member(field: Field, value: Any, path: str, duplicates: Collection[str]) -> Iterator[str]:
    if field.many == "[]" and isinstance(value, list):
        for at, item in enumerate(value):
            yield from _strict_member(field.element, item, f"{path}[{at}]", duplicates)
    elif field.many == "map:" and isinstance(value, dict):
        for name, item in value.items():
            where = f"{path}.{name}"
            if where in duplicates:
                yield f'duplicate field "{where}"'
            yield from _strict_member(field.element, item, where, duplicates)
    elif field.base in structs.UNIONS:
        schema = structs.named(structs.UNION_SCHEMA)
        for at, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, dict):
                yield from _strict_problems(schema, item, f"{path}[{at}]" if isinstance(value, list) else path, duplicates)
    elif isinstance(value, dict):
        if field.struct is not None:
            yield from _strict_problems(field.struct, value, path, duplicates)
        elif duplicates:
            yield from _repeated(value, path, duplicates)


def _repeated(value: Any, path: str, duplicates: Collection[str]) -> Iterator[str]:
    """Duplicates within a value whose fields nobody knows."""
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from _repeated(item, f"{path}[{at}]", duplicates)
    elif isinstance(value, dict):
        for name, item in value.items():
            if f"{path}.{name}" in duplicates:
                yield f'duplicate field "{path}.{name}"'
            yield from _repeated(item, f"{path}.{name}", duplicates)


# --- how does it print? -----------------------------------------------------------------------------------------------------------------------


def normalise(kind: Kind, obj: Object) -> None:
    """Bring a well-typed object into the form in which the API shows it, in place: see the module's docstring."""
    _normalise(root(kind), obj)


def _inner_structs(field: Field, value: Any) -> Iterator[tuple[Struct, Object]]:
    """The structs directly below a member, each with the dict that stands for it."""
    inner = structs.named(structs.UNION_SCHEMA) if field.base in structs.UNIONS else field.struct
    if inner is None:
        return
    parts = value.values() if field.many == "map:" and isinstance(value, dict) else value if isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, dict):
            yield inner, part


def _normalise(struct: Struct, value: Object) -> None:
    fields = struct.fields
    for name in list(value):
        field = fields.get(name)
        if field is None:
            if not is_open(struct):
                del value[name]
            continue
        member = value[name]
        printed = None if member is None else _printed(field, member)
        if printed is None or (not printed and not field.pointer and _is_zero(field, printed)):
            del value[name]
        else:
            value[name] = printed
    for field in struct.always_printed:
        if field.name not in value:
            value[field.name] = _zero(field)


def _printed(field: Field, value: Any) -> Any:
    """A member's canonical value. Items that are null become zero values, as in Go."""
    if field.many == "[]":
        element = field.element
        return [_zero(element) if item is None else _printed(element, item) for item in value]
    if field.many == "map:":
        element = field.element
        return {name: _zero(element) if item is None else _printed(element, item) for name, item in value.items()}
    if field.base in structs.UNIONS:
        for inner, part in _inner_structs(field, value):
            _normalise(inner, part)
        return value
    if field.struct is not None:
        _normalise(field.struct, value)
        return value
    convert = _CANONICAL.get(field.base)
    return value if convert is None else convert(value)


_CANONICAL: dict[str, Callable[[Any], Any]] = {
    "Quantity": quantity.of_json,
    "Time": instants.canonical,
    "MicroTime": instants.canonical_micros,
}


def _is_zero(field: Field, value: Any) -> bool:
    """Whether Go's omitempty leaves this (falsy) value out; where there is no omitempty, the zero value is put back afterwards."""
    return bool(field.many) or not field.is_go_struct


def _zero(field: Field) -> Any:
    if field.pointer or field.many:
        return None
    if field.struct is not None:
        empty: Object = {}
        _normalise(field.struct, empty)
        return empty
    return _ZEROS.get(field.base)


_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "double": 0, "Quantity": "0", "IntOrString": 0}


# --- defaults ---------------------------------------------------------------------------------------------------------------------------------


def apply_defaults(kind: Kind, obj: Object) -> None:
    """The schema's own defaults (protocol TCP and the like), in place. Most defaults are rules of a kind: ``server/resources``."""
    _default(root(kind), obj)


def _default(struct: Struct, value: Object) -> None:
    for name, member in value.items():
        field = struct.fields.get(name)
        if field is not None and isinstance(member, (dict, list)):
            for inner, part in _inner_structs(field, member):
                _default(inner, part)
    for field in struct.defaulted:
        if field.name not in value or (not field.pointer and not value[field.name]):
            value[field.name] = field.default
