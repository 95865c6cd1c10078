"""From a request's body to an object that is safe to work with: right kind, right types, unknown fields told or refused, in canonical form."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import schema
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server import resources
from edgek.server.api import responses, wire
from edgek.server.api.call import Call
from edgek.server.api.options import WriteOptions


def body(call: Call, kind: Kind, chosen: WriteOptions) -> Object:
    """The object in the body, defaults of its kind filled in. ``kind`` is what the body must hold: a subresource may have its own.

    Raises BadRequest, UnsupportedMediaType.
    """
    obj, duplicates = wire.decode_body(call.request.headers.get("content-type", ""), call.request.body, kind)
    problem = schema.type_problem(kind, obj) or unknown(kind, obj, duplicates, chosen, call.warnings)
    if problem:
        raise wire.undecodable(kind, problem)
    complete(kind, obj)
    return obj


def unknown(kind: Kind, obj: Object, duplicates: Sequence[str], chosen: WriteOptions, warnings: list[str]) -> str:
    """Unknown and repeated fields: the text to refuse with when strict, else warnings or nothing."""
    if chosen.field_validation == "Ignore":
        return ""
    found = schema.decode_problems(kind, obj, duplicates)
    if not found:
        return ""
    if chosen.field_validation == "Strict":
        return schema.strict_error(found)
    warnings.extend(found)
    return ""


def patched(call: Call, obj: Object, chosen: WriteOptions, duplicates: Sequence[str]) -> None:
    """Hold the result of a patch against its kind, in place. What would be 400 for a body is 422 here. Raises Invalid."""
    problem = schema.type_problem(call.kind, obj) or unknown(call.kind, obj, duplicates, chosen, call.warnings)
    if problem:
        shown = responses.quoted_json(obj)
        raise responses.invalid("", "", "", [Cause("FieldValueInvalid", f"Invalid value: {shown}: {problem}", "patch")])
    complete(call.kind, obj)


def complete(kind: Kind, obj: Object) -> None:
    """Canonical values and defaults, in place."""
    obj["kind"], obj["apiVersion"] = kind.name, kind.api_version
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    schema.normalise(kind, obj)
    schema.apply_defaults(kind, obj)
    obj.setdefault("metadata", {})
    resources.of(kind).default(obj)
