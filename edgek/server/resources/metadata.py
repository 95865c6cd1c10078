"""The rules of ``metadata``, the same for every kind: names, labels, annotations, owners, finalizers, and what an update may not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import METADATA, Errors, FieldError, Path

ANNOTATIONS_LIMIT_BYTES = 256 * 1024  # all keys and values of an object together
STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
NAMELESS_FINALIZER = "name is neither a standard finalizer name nor is it fully qualified"
# Owners of these kinds come and go by themselves, so nothing may depend on them.
_BANNED_OWNERS = frozenset({("v1", "Event")})
_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class NameRule(Protocol):
    def __call__(self, name: str, *, prefix: bool = False) -> Sequence[str]: ...


def validate(obj: Object, kind: Kind, name_rule: NameRule) -> list[FieldError]:
    """Problems of a new object's metadata."""
    errors = Errors()
    meta = objects.metadata(obj)
    if meta.get("generateName"):
        errors.invalid_each(METADATA / "generateName", meta["generateName"], name_rule(meta["generateName"], prefix=True))
    if meta.get("name"):
        errors.invalid_each(METADATA / "name", meta["name"], name_rule(meta["name"]))
    else:
        errors.required(METADATA / "name", "name or generateName is required")
    _check_namespace(errors, meta.get("namespace") or "", kind.namespaced)
    _check_common(errors, meta)
    return errors.found


def validate_update(obj: Object, old: Object) -> list[FieldError]:
    errors = Errors()
    meta, before = objects.metadata(obj), objects.metadata(old)
    if before.get("deletionTimestamp"):
        had = frozenset(before.get("finalizers") or ())
        added = [each for each in meta.get("finalizers") or () if each not in had]
        if added:
            listed = ", ".join(f'"{each}"' for each in sorted(added))
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            errors.forbidden(METADATA / "finalizers", detail)
    for name in _FIXED:
        errors.immutable(METADATA / name, meta.get(name), before.get(name))
    if (meta.get("generation") or 0) < (before.get("generation") or 0):
        errors.invalid(METADATA / "generation", meta.get("generation") or 0, "must not be decremented")
    _check_common(errors, meta)
    return errors.found


def check_labels(errors: Errors, at: Path, labels: Mapping[str, str] | None) -> None:
    for key in sorted(labels or {}):
        errors.invalid_each(at, key, names.qualified_name(key))
        errors.invalid_each(at, (labels or {})[key], names.label_value((labels or {})[key]))


def check_annotations(errors: Errors, at: Path, annotations: Mapping[str, str] | None) -> None:
    size = 0
    for key, value in (annotations or {}).items():
        errors.invalid_each(at, key, names.qualified_name(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_LIMIT_BYTES:
        errors.too_long(at, ANNOTATIONS_LIMIT_BYTES)


def check_finalizer(errors: Errors, at: Path, finalizer: str) -> None:
    """A finalizer must be qualified, ``example.com/x``, unless it is one of the standard ones."""
    if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
        errors.invalid(at, finalizer, NAMELESS_FINALIZER)


def _check_namespace(errors: Errors, namespace: str, wanted: bool) -> None:
    at = METADATA / "namespace"
    if not wanted:
        if namespace:
            errors.forbidden(at, "not allowed on this type")
    elif not namespace:
        errors.required(at)
    else:
        errors.invalid_each(at, namespace, names.dns_label(namespace))


def _check_common(errors: Errors, meta: Mapping[str, Any]) -> None:
    errors.non_negative(METADATA / "generation", meta.get("generation"))
    check_labels(errors, METADATA / "labels", meta.get("labels"))
    check_annotations(errors, METADATA / "annotations", meta.get("annotations"))
    _check_owners(errors, METADATA / "ownerReferences", meta.get("ownerReferences") or ())
    finalizers = meta.get("finalizers") or ()
    for finalizer in finalizers:
        errors.invalid_each(METADATA / "finalizers", finalizer, names.qualified_name(finalizer))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        errors.invalid(METADATA / "finalizers", list(finalizers), "finalizer orphan and foregroundDeletion cannot be both set")
    for index, finalizer in enumerate(finalizers):
        check_finalizer(errors, (METADATA / "finalizers")[index], finalizer)


def _check_owners(errors: Errors, at: Path, owners: Sequence[Mapping[str, Any]]) -> None:
    controller: Mapping[str, Any] | None = None
    for owner in owners:
        _check_owner(errors, at, owner)
        if not owner.get("controller"):
            continue
        if controller is not None:
            first, second = (f"{each.get('kind', '')}/{each.get('name', '')}" for each in (controller, owner))
            detail = f'Only one reference can have Controller set to true. Found "true" in references for {first} and {second}'
            errors.invalid(at, list(owners), detail)
        controller = controller or owner


def _check_owner(errors: Errors, at: Path, owner: Mapping[str, Any]) -> None:
    api_version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
    if not api_version.rpartition("/")[2]:
        errors.invalid(at / "apiVersion", api_version, "version must not be empty")
    if not kind:
        errors.invalid(at / "kind", kind, "must not be empty")
    if not owner.get("name"):
        errors.invalid(at / "name", owner.get("name") or "", "must not be empty")
    if not owner.get("uid"):
        errors.invalid(at / "uid", owner.get("uid") or "", "must not be empty")
    if (api_version, kind) in _BANNED_OWNERS:
        errors.invalid(at, owner, f"{api_version}, Kind={kind} is disallowed from being an owner")
