"""Claims on devices, and templates of them: stored and completed; nothing on a node hands devices out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_blanks
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError, Path, items

ALLOCATION_MODES = ("All", "ExactCount")

Spec = Mapping[str, Any]


class ResourceClaim(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.RESOURCE_CLAIM)

    def default(self, obj: Object) -> None:
        _default_spec(obj.get("spec") or {})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_spec(errors, SPEC, obj.get("spec") or {})
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        errors.immutable(SPEC, obj.get("spec"), old.get("spec"))
        return errors.found


class ResourceClaimTemplate(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.RESOURCE_CLAIM_TEMPLATE)

    def default(self, obj: Object) -> None:
        _default_spec((obj.get("spec") or {}).get("spec") or {})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_spec(errors, SPEC / "spec", (obj.get("spec") or {}).get("spec") or {})
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        errors.immutable(SPEC, obj.get("spec"), old.get("spec"))
        return errors.found


def _wanted(at: Path, request: Spec) -> Iterator[tuple[Path, Any]]:
    """What a request wants: one thing exactly, or the first of several that can be had."""
    if request.get("exactly") is not None:
        yield at / "exactly", request["exactly"]
    yield from items(request, "firstAvailable", at)


def _default_spec(spec: Spec) -> None:
    for place, request in items(spec.get("devices"), "requests", SPEC):
        for _, wanted in _wanted(place, request):
            fill_blanks(wanted, {"allocationMode": "ExactCount"})
            if wanted["allocationMode"] == "ExactCount" and not wanted.get("count"):
                wanted["count"] = 1


def _check_spec(errors: Errors, at: Path, spec: Spec) -> None:
    seen: set[str] = set()
    for place, request in items(spec.get("devices"), "requests", at / "devices"):
        name = request.get("name") or ""
        if not name:
            errors.required(place / "name")
        else:
            errors.invalid_each(place / "name", name, names.dns_label(name))
        if name in seen:
            errors.duplicate(place, name)
        seen.add(name)
        if request.get("exactly") is None and not request.get("firstAvailable"):
            errors.required(place, "exactly one of `exactly` or `firstAvailable` is required")
        for wanted_place, wanted in _wanted(place, request):
            if not wanted.get("deviceClassName"):
                errors.required(wanted_place / "deviceClassName")
            errors.choice(wanted_place / "allocationMode", wanted.get("allocationMode") or "", ALLOCATION_MODES)
