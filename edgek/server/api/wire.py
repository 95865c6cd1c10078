"""Bodies of requests: bytes of some content type become the dict of one object of the kind that the path is about.

JSON, YAML and (for built-in kinds) protobuf. Whether the object fits its kind is ``model/schema.py``'s question; here it is only made sure that it
says to be of that kind. Refusals are worded as upstream words them.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from edgek.model import protobuf, structs
from edgek.model.errors import BadRequest, UnsupportedMediaType
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import gojson, protobufbody, yamlbody

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

DEEPEST = 200  # levels of nesting: what follows walks objects by recursion, and no honest one comes near

_SNIPPET = 30  # bytes of a bad body that its refusal shows
_TOO_DEEP = "exceeded max depth"
_INTEGER_DIGITS = 20  # of the longest integer in 64 bits, with its sign
_GO_TYPE_META = r"""struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"""


def decode_body(content_type: str, raw: bytes, kind: Kind) -> tuple[Object, list[str]]:
    """The object, with ``apiVersion`` and ``kind`` filled in, and its duplicate fields (see ``schema.decode_problems``).

    Raises BadRequest, UnsupportedMediaType. Does not hold the object against its schema.
    """
    media_type = content_type.partition(";")[0].strip().lower() or JSON
    is_custom = structs.of_kind(kind) is None
    if media_type == JSON:
        obj, duplicates = _json(raw, kind)
    elif media_type == YAML:
        obj, duplicates = _yaml(raw, kind)
    elif media_type == PROTOBUF and not is_custom:
        return _protobuf(raw, kind), []
    else:
        accepted = (JSON, YAML) if is_custom else (JSON, YAML, PROTOBUF)
        raise UnsupportedMediaType(f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}")
    _check_kind(kind, obj.get("apiVersion"), obj.get("kind"), raw, is_custom)
    obj.setdefault("apiVersion", kind.api_version)
    obj.setdefault("kind", kind.name)
    return obj, duplicates


def undecodable(kind: Kind, problem: str, given: Object | None = None) -> BadRequest:
    """The refusal of a body that is of the right kind but does not fit it (or, with ``given``, says to be of another kind)."""
    name = (given or {}).get("kind") or kind.name
    version = ((given or {}).get("apiVersion") or kind.api_version).rpartition("/")[2]
    return BadRequest(f'{name} in version "{version}" cannot be handled as a {kind.name}: {problem}')


def find_duplicates(raw: bytes) -> tuple[Any, list[str]]:
    """Decode JSON, noting every member that an object has twice, as a path (``spec.ports[0].name``). The last one counts, and keeps its place.

    Works for any JSON value, patches included. Raises ValueError, RecursionError.
    """
    decoded = json.loads(raw, object_pairs_hook=_Members.of, parse_int=_number, parse_constant=_refused)
    _count_members([decoded])
    return decoded, list(dict.fromkeys(_repeated(decoded, "")))


def _number(text: str) -> int | float:
    """What no 64 bits hold is a float, as it is for orjson."""
    value = int(text) if len(text) <= _INTEGER_DIGITS else 1 << 64
    return value if -(1 << 63) <= value < 1 << 64 else float(text)


def _refused(text: str) -> Any:
    """Python would take NaN and Infinity."""
    raise ValueError(f"{text} is not JSON")


class _Members(dict[str, Any]):
    """An object and those of its members that came twice."""

    repeated: frozenset[str] = frozenset()

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        members = cls()
        repeated = set()
        for name, value in pairs:
            if name in members:
                del members[name]
                repeated.add(name)
            members[name] = value
        members.repeated = frozenset(repeated)
        return members


def _repeated(value: Any, path: str) -> list[str]:
    if isinstance(value, list):
        return [found for at, item in enumerate(value) for found in _repeated(item, f"{path}[{at}]")]
    if not isinstance(value, dict):
        return []
    found = []
    again = value.repeated if isinstance(value, _Members) else ()
    for name, member in value.items():
        where = f"{path}.{name}" if path else name
        if name in again:
            found.append(where)
        found += _repeated(member, where)
    return found


def _json(raw: bytes, kind: Kind) -> tuple[Object, list[str]]:
    try:
        obj = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        why = gojson.problem(raw) or str(error)
        raise _unrecognised(kind, f"couldn't get version/kind; json parse error: {why}", raw) from None
    obj = _object(obj, raw, kind)
    try:
        # Every name ends in '":' (in strings it would be '\\":'), so equal counts mean that none came twice; oddly spaced JSON only costs the
        # slower look.
        if raw.count(b'":') - raw.count(b'\\":') == _count_members(obj):
            return obj, []
        return find_duplicates(raw)
    except RecursionError:
        raise _unrecognised(kind, f"couldn't get version/kind; json parse error: {_TOO_DEEP}", raw) from None


def _count_members(value: Any) -> int:
    """Of all objects within, a level at a time. Raises RecursionError where the nesting is too deep."""
    count = 0
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for part in level:
            members = part
            if isinstance(part, dict):
                count += len(part)
                members = part.values()
            below += [member for member in members if isinstance(member, (dict, list))]
        if not below:
            return count
        level = below
    raise RecursionError(_TOO_DEEP)


def _yaml(raw: bytes, kind: Kind) -> tuple[Object, list[str]]:
    try:
        obj, duplicates = yamlbody.load(raw)
        _count_members([obj])
    except (yamlbody.YAMLProblem, RecursionError) as problem:
        raise _unrecognised(kind, str(problem), raw) from None
    return _object({} if obj is None else obj, raw, kind), duplicates


def _protobuf(raw: bytes, kind: Kind) -> Object:
    try:
        api_version, name, message = protobufbody.opened(raw)
    except (protobufbody.NotAnEnvelope, ValueError) as problem:
        raise _unrecognised(kind, str(problem), raw) from None
    _check_kind(kind, api_version or None, name or None, raw, False)
    group, _, version = (api_version or kind.api_version).rpartition("/")
    struct = structs.root(group, version, name or kind.name)
    try:
        obj = protobufbody.decode(struct, message) if struct is not None else {}
        _count_members(obj)
    except (protobuf.DecodeError, ValueError, RecursionError) as problem:
        raise undecodable(kind, str(problem)) from None
    return {"apiVersion": api_version or kind.api_version, "kind": name or kind.name, **obj}


def _object(value: Any, raw: bytes, kind: Kind) -> Object:
    if isinstance(value, dict):
        return value
    why = f"json: cannot unmarshal {gojson.type_name(value)} into Go value of type {_GO_TYPE_META}"
    raise _unrecognised(kind, f"couldn't get version/kind; json parse error: {why}", raw)


def _check_kind(kind: Kind, api_version: Any, name: Any, raw: bytes, is_custom: bool) -> None:
    """Raises BadRequest when the body names another kind than the one it is sent for."""
    for member, value in (("apiVersion", api_version), ("kind", name)):
        if value is not None and not isinstance(value, str):
            why = f"json: cannot unmarshal {gojson.type_name(value)} into Go struct field .{member} of type string"
            raise _unrecognised(kind, f"couldn't get version/kind; json parse error: {why}", raw)
    if api_version and api_version.count("/") > 1:
        raise _unrecognised(kind, f"unexpected GroupVersion string: {api_version}", raw)
    if is_custom and not name:
        raise _unrecognised(kind, f"Object 'Kind' is missing in '{raw.decode(errors='replace')}'", raw)
    if (api_version or kind.api_version, name or kind.name) == (kind.api_version, kind.name) or _is_options(kind, name):
        return
    if name in (None, "", kind.name) and (is_custom or _is_version_of(kind, api_version)):
        raise BadRequest(f"the API version in the data ({api_version}) does not match the expected API version ({kind.api_version})")
    raise undecodable(kind, _why_not(kind, api_version or kind.api_version, name or kind.name), {"apiVersion": api_version, "kind": name})


def _is_options(kind: Kind, name: str | None) -> bool:
    """Options name the group of the resource they are for, or none."""
    return kind.name.endswith("Options") and name in (None, "", kind.name)


def _is_version_of(kind: Kind, api_version: str) -> bool:
    group, _, version = api_version.rpartition("/")
    return group == kind.group and structs.root(group, version, kind.name) is not None


def _why_not(kind: Kind, api_version: str, name: str) -> str:
    group, _, version = api_version.rpartition("/")
    if structs.root(group, version, name) is None:
        return f'no kind "{name}" is registered for version "{api_version}" in scheme "pkg/runtime/scheme.go:111"'
    return f"converting ({version}.{name}) to ({kind.group.partition('.')[0] or 'core'}.{kind.name}): unknown conversion"


def _unrecognised(kind: Kind, problem: str, raw: bytes) -> BadRequest:
    return BadRequest(f"the object provided is unrecognized (must be of type {kind.name}): {problem} ({_snippet(raw)})")


def _snippet(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    more = " ..." if len(raw) > _SNIPPET else ""
    head = raw[:_SNIPPET]
    return (head.decode(errors="replace") if raw.startswith(b"{") else head.hex()) + more
