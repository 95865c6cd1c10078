"""Strategic merge patch: a merge patch that knows which lists merge by key, with directives for the rest.

    $patch: replace | delete            of an object, or of a list's element
    $retainKeys: [...]                  drop the members that are not named
    $setElementOrder/<list>: [...]      how the merged list is ordered
    $deleteFromPrimitiveList/<list>     items to take out

Follows k8s.io/apimachinery/pkg/util/strategicpatch, errors included: what upstream answers with a plain 500 is one here as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from edgek.model import errors, schema
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.structs import Field, Struct
from edgek.server.api import gojson
from edgek.server.api.jsonpatch import REJECTED

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_ITEMS = "$deleteFromPrimitiveList/"
_DIRECTIVES = (_DIRECTIVE, _RETAIN, _ORDER, _DELETE_ITEMS)  # other names may begin with a dollar, too: $ref


def apply(kind: Kind, struct: Struct, live: Object, patch: Object) -> Object:
    """``live`` is used up. Raises BadRequest, Invalid, ServerError."""
    sent = gojson.shown(patch)
    merged = _merge_map(live, patch, struct)
    if problem := schema.type_problem(kind, merged):
        detail = f'Invalid value: "{sent}": {_conversion_problem(problem)}'
        raise errors.Invalid(f' "" is invalid: patch: {detail}', causes=[Cause("FieldValueInvalid", detail, "patch")])
    return merged


def _conversion_problem(problem: str) -> str:
    """Upstream converts the merged map to its struct without JSON in between, and words a misfit otherwise."""
    head, found, wanted = problem.partition(" of type ")
    if not found:
        return problem
    given = head.removeprefix("json: cannot unmarshal ").split(" ")[0]
    given = {"object": "map", "array": "slice", "number": "int64"}.get(given, given)
    if wanted.startswith("[]"):
        return f"cannot restore slice from {given}"
    if wanted.startswith("map[") or wanted == "v1.ResourceList":
        return f"cannot restore map from {given}"
    return f"cannot restore struct from: {given}" if "." in wanted else f"unrecognized type: {wanted}"


def _merge_map(original: Object, patch: Object, struct: Struct | None) -> Object:
    directive = patch.get(_DIRECTIVE)
    if directive is not None:
        if directive == "replace":
            replacement: Object = _stripped(patch)
            return replacement
        if directive == "delete":
            return {}
        if directive != "merge":
            raise _unknown_directive(directive, patch)
    _retain_keys(original, patch)
    for name in patch:
        if name.startswith(_ORDER) and (target := name.removeprefix(_ORDER)) not in patch and isinstance(original.get(target), list):
            original[target] = _ordered(_field(struct, target), original[target], original[target], _order_of(patch, target))
    for name, value in patch.items():
        if name.startswith(_DELETE_ITEMS):
            _delete_items(original, name.removeprefix(_DELETE_ITEMS), value)
        elif name not in (_DIRECTIVE, _RETAIN) and not name.startswith(_ORDER):
            _merge_member(original, name, value, patch, struct)
    return original


def _merge_member(original: Object, name: str, value: Any, patch: Object, struct: Struct | None) -> None:
    if value is None:
        original.pop(name, None)
        return
    before = original.get(name)
    if isinstance(before, dict) and isinstance(value, dict):
        field = _field(struct, name)
        if field is not None and "replace" in field.strategies:
            original[name] = _stripped(value)
        else:
            original[name] = _merge_map(before, value, None if field is None or field.many else field.struct)
    elif isinstance(before, list) and isinstance(value, list):
        original[name] = _merge_list(before, value, _field(struct, name), _order_of(patch, name))
    else:
        original[name] = _stripped(value)


def _field(struct: Struct | None, name: str) -> Field | None:
    """None where nothing is known of the members, as in maps. Raises ServerError for a member that the struct does not have."""
    if struct is None:
        return None
    if name not in struct.fields:
        raise errors.ServerError(f'unable to find api field in struct {struct.go_name} for the json field "{name}"')
    return struct.fields[name]


def _retain_keys(original: Object, patch: Object) -> None:
    keys = patch.get(_RETAIN)
    if keys is None:
        return
    named = keys if isinstance(keys, list) else []
    members = [name for name, value in patch.items() if value is not None and not name.startswith(_DIRECTIVES)]
    if not isinstance(keys, list) or any(name not in named for name in members):
        raise errors.BadRequest("invalid patch format of retainKeys")
    for name in list(original):
        if name not in named:
            del original[name]


def _order_of(patch: Object, name: str) -> list[Any] | None:
    order = patch.get(_ORDER + name)
    if order is not None and not isinstance(order, list):
        raise errors.BadRequest("invalid patch format of setElementOrder list")
    return order


def _delete_items(original: Object, name: str, items: Any) -> None:
    if not isinstance(items, list):
        raise errors.BadRequest("invalid patch format of primitive list")
    if isinstance(original.get(name), list):
        unwanted = _quick(items)
        original[name] = [item for item in original[name] if item not in unwanted]


def _merge_list(original: list[Any], patch: list[Any], field: Field | None, order: list[Any] | None) -> list[Any]:
    if field is None or not field.merges:
        return [_stripped(item) for item in patch if not _is_directive(item)]
    if any(isinstance(item, list) for item in (*original, *patch)):
        raise errors.Invalid(REJECTED)
    if order is not None:
        _check_order(patch, order, field.merge_key)
    key = field.merge_key
    plain, merged = _without_directives(original, patch, key) if key else (patch, original)
    if merged is None:
        return [_stripped(item) for item in plain]
    known = _quick(original)
    merged = _merge_by_key(merged, plain, field) if key else merged + [item for item in plain if item not in known]
    # What the patch names comes in the patch's order, unless the order is given.
    merged = _ordered(field, merged, original, plain)
    return merged if order is None else _ordered(field, merged, original, order)


def _without_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any] | None]:
    """The patch's plain elements, and what of the original they meet: less what is deleted, or None when all of it is replaced."""
    plain: list[Any] = []
    deleted: set[str] = set()
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise errors.ServerError(f"unexpected type {gojson.type_name(item)} in a list of maps")
        directive = item.get(_DIRECTIVE)
        if directive is None:
            plain.append(item)
        elif directive == "delete":
            deleted.add(_identity(_key_value(item, key)))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise errors.ServerError("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(directive, item)
    return plain, None if replace else [old for old in original if _identity(old.get(key)) not in deleted]


def _merge_by_key(original: list[Any], patch: list[Any], field: Field) -> list[Any]:
    key = field.merge_key
    merged = list(original)
    places = {_identity(old.get(key)): at for at, old in reversed(list(enumerate(merged))) if isinstance(old, dict)}
    for item in patch:
        identity = _identity(_key_value(item, key))
        at = places.get(identity)
        if at is None:
            places[identity] = len(merged)
            merged.append(_stripped(item))
        else:
            merged[at] = _merge_map(merged[at], item, field.struct)
    return merged


def _key_value(item: Object, key: str) -> Any:
    if key not in item:
        raise errors.ServerError(f"map: {gojson.shown(item)} does not contain declared merge key: {key}")
    return item[key]


def _check_order(patch: Sequence[Any], order: Sequence[Any], key: str) -> None:
    """What the patch sets must stand in the wanted order, in that order. Raises ServerError."""
    kept = [item for item in patch if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "delete")]
    wanted = iter(_identities(order, key))
    if not all(identity in wanted for identity in _identities(kept, key)):
        lists = f"The order in patch list:\n{gojson.shown(list(patch))}\n doesn't match $setElementOrder list:\n{gojson.shown(list(order))}\n"
        raise errors.ServerError(lists)


def _ordered(field: Field | None, merged: list[Any], before: list[Any], order: list[Any] | None) -> list[Any]:
    """What the order names comes in that order; the rest keeps its place among its old neighbours."""
    if field is None or not field.merges or order is None:
        return merged
    key = field.merge_key
    wanted, places = ({identity: at for at, identity in reversed(list(enumerate(_identities(items, key))))} for items in (order, before))
    named: list[tuple[Any, Any]] = []
    others: list[tuple[Any, Any]] = []
    for item, identity in zip(merged, _identities(merged, key), strict=True):
        (named if identity in wanted else others).append((item, identity))
    named.sort(key=lambda pair: wanted[pair[1]])
    others.sort(key=lambda pair: places.get(pair[1], len(places)))
    return _woven(deque(named), deque(others), places)


def _woven(named: deque[tuple[Any, Any]], others: deque[tuple[Any, Any]], places: Mapping[Any, int]) -> list[Any]:
    result = []
    while named and others:
        left, right = places.get(others[0][1]), places.get(named[0][1])
        source = others if left is not None and right is not None and left < right else named
        result.append(source.popleft()[0])
    return result + [item for item, _ in (*named, *others)]


def _identity(value: Any) -> str:
    """Of the value of a merge key: equal for equal ones, whatever they are."""
    return f"{type(value).__name__}:{gojson.shown(value)}"


def _quick(items: list[Any]) -> Collection[Any]:
    """The same items, quick to be looked for: lists may be as long as a body allows."""
    return frozenset(items) if all(isinstance(item, str) for item in items) else items


def _identities(items: Iterable[Any], key: str) -> Iterable[Any]:
    """What tells items of a merging list apart."""
    return (gojson.shown(item.get(key) if isinstance(item, dict) and key else item) for item in items)


def _is_directive(item: Any) -> bool:
    return isinstance(item, dict) and _DIRECTIVE in item


def _stripped(value: Any) -> Any:
    """A value that meets nothing to merge with: its directives mean nothing, and its nulls delete nothing."""
    if isinstance(value, list):
        return [_stripped(item) for item in value if not _is_directive(item)]
    if not isinstance(value, dict):
        return value
    return {name: _stripped(member) for name, member in value.items() if member is not None and not name.startswith(_DIRECTIVES)}


def _unknown_directive(directive: Any, patch: Object) -> errors.ServerError:
    return errors.ServerError(f"unknown patch type: {gojson.shown(directive)} in map: {gojson.shown(patch)}")
