"""What becomes of an object under a patch: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.

Pure. The outcome still has to be held against its kind (``decode.patched``). Server-side apply is not served.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from edgek.model import errors, structs
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import gojson, jsonpatch, strategic, wire

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)
CUSTOM_TYPES = (JSON_PATCH, MERGE_PATCH, "application/apply-patch+yaml")  # what custom resources accept

_GO_MAP = "map[string]interface {}"


def apply(kind: Kind, patch_type: str, raw: bytes, live: Object) -> tuple[Object, list[str]]:
    """The patched object, and the patch's duplicate fields as ``schema.decode_problems`` takes them. ``live`` is used up.

    Raises BadRequest, Invalid, TooLarge, UnsupportedMediaType, ServerError: whatever upstream answers.
    """
    return _APPLIED[patch_type](kind, raw, live)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386. ``target`` is used up."""
    if not isinstance(patch, dict):
        return patch
    merged = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _json_patch(kind: Kind, raw: bytes, live: Object) -> tuple[Object, list[str]]:
    operations, _ = _decoded(raw, "error decoding patch: ")
    if operations is not None and not isinstance(operations, list):
        found = gojson.type_name(operations)
        raise errors.BadRequest(f"error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp")
    return jsonpatch.apply(operations or [], live)


def _merge_patch(kind: Kind, raw: bytes, live: Object) -> tuple[Object, list[str]]:
    patch, duplicates = _decoded(raw, "error decoding patch: ")
    _must_be_object(patch, "error decoding patch: ")
    return merge(live, patch), duplicates


def _strategic_merge_patch(kind: Kind, raw: bytes, live: Object) -> tuple[Object, list[str]]:
    struct = structs.of_kind(kind)
    if struct is None:
        accepted = ", ".join(CUSTOM_TYPES)
        raise errors.UnsupportedMediaType(f"the body of the request was in an unknown format - accepted media types include: {accepted}")
    patch, duplicates = _decoded(raw)
    _must_be_object(patch)
    return strategic.apply(kind, struct, live, patch), duplicates


def _decoded(raw: bytes, prefix: str = "") -> tuple[Any, list[str]]:
    try:
        # The slower decoder, always: patches are small, and this one sees duplicates.
        return wire.find_duplicates(raw)
    except (json.JSONDecodeError, UnicodeDecodeError, orjson.JSONDecodeError, RecursionError) as error:
        raise errors.BadRequest(prefix + (gojson.problem(raw) or str(error))) from None


def _must_be_object(patch: Any, prefix: str = "") -> None:
    if not isinstance(patch, dict):
        raise errors.BadRequest(f"{prefix}json: cannot unmarshal {gojson.type_name(patch)} into Go value of type {_GO_MAP}")


_APPLIED: Mapping[str, Callable[[Kind, bytes, Object], tuple[Object, list[str]]]] = {
    JSON_PATCH: _json_patch,
    MERGE_PATCH: _merge_patch,
    STRATEGIC_MERGE_PATCH: _strategic_merge_patch,
}
