"""JSON patch, RFC 6902, with the limits and the (few) words of upstream."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from edgek.model import errors
from edgek.model.objects import Object

MOST_OPERATIONS = 10_000
MOST_COPIED = 3 * 1024 * 1024  # bytes that all copy operations of a patch may add: each could double the document
REJECTED = "the server rejected our request due to an error in our request"

_MEMBERS = frozenset({"op", "path", "from", "value"})


class _Impossible(Exception):
    """The document has no such place, or a test failed. Clients are not told which: upstream does not."""


def apply(operations: Sequence[Any], document: Object) -> tuple[Object, list[str]]:
    """The patched document (``document`` is used up) and texts about members that no operation has. Raises BadRequest, Invalid, TooLarge."""
    if len(operations) > MOST_OPERATIONS:
        raise errors.TooLarge(f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(operations)}")
    unknown = []
    copied = 0
    root: dict[str, Any] = {"": document}
    try:
        for at, operation in enumerate(operations):
            if not isinstance(operation, dict):
                raise _Impossible  # noqa: TRY301  # one way out for all that is wrong
            unknown += [f'json patch unknown field "[{at}].{name}"' for name in operation if name not in _MEMBERS]
            copied += _OPERATIONS[operation.get("op", "")](root, operation) or 0
            if copied > MOST_COPIED:
                raise _Impossible  # noqa: TRY301
    except (_Impossible, KeyError, IndexError, ValueError, TypeError):
        raise errors.Invalid(REJECTED) from None
    if not isinstance(root[""], dict):
        raise errors.Invalid(REJECTED)
    return root[""], unknown


def _add(root: Any, operation: Object) -> None:
    _put(root, operation["path"], copy.deepcopy(operation.get("value")))  # a patch may be tried again


def _remove(root: Any, operation: Object) -> None:
    holder, key = _find(root, operation["path"])
    del holder[_position(holder, key)]


def _replace(root: Any, operation: Object) -> None:
    holder, key = _find(root, operation["path"])
    holder[_position(holder, key)] = operation.get("value")  # a member that is not there is added: upstream's library is lenient


def _move(root: Any, operation: Object) -> None:
    holder, key = _find(root, operation["from"])
    value = holder.pop(_position(holder, key))
    _put(root, operation["path"], value)


def _copy(root: Any, operation: Object) -> int:
    """How many bytes were added."""
    holder, key = _find(root, operation["from"])
    value = orjson.dumps(holder[_position(holder, key)])
    _put(root, operation["path"], orjson.loads(value))
    return len(value)


def _test(root: Any, operation: Object) -> None:
    holder, key = _find(root, operation["path"])
    wanted = operation.get("value")
    seen = holder.get(key) if isinstance(holder, dict) else holder[_position(holder, key)]
    if not _same(seen, wanted):
        raise _Impossible


_OPERATIONS: Mapping[str, Callable[[Any, Object], int | None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _find(root: Any, path: str) -> tuple[Any, str]:
    """The object or list that holds the place, and the place's name in it. ``root`` holds the document as its member ``""``."""
    if path and not path.startswith("/"):
        raise _Impossible
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
    holder = root
    for part in parents:
        holder = holder[_position(holder, part)]
    if not isinstance(holder, (dict, list)):
        raise _Impossible
    return holder, last


def _position(holder: Any, key: str) -> Any:
    """How Python addresses this place; negative indexes count from the end, as upstream allows."""
    return int(key) if isinstance(holder, list) else key


def _put(root: Any, path: str, value: Any) -> None:
    holder, key = _find(root, path)
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    else:
        place = int(key)
        place += len(holder) + 1 if place < 0 else 0
        if not 0 <= place <= len(holder):
            raise _Impossible
        holder.insert(place, value)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike in Python, true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
