"""Limit ranges and quotas: how much one thing, or a namespace, may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.model.quantity import NANO
from edgek.server.resources.base import Resource
from edgek.server.resources.validation import names
from edgek.server.resources.validation.compute import check_amount, check_resource_name, is_hugepages
from edgek.server.resources.validation.fields import SPEC, STATUS, Errors, FieldError, Path, items
from edgek.server.resources.validation.values import quantity

_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_MEMBERS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_COUNTED = ("pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "persistentvolumeclaims", "configmaps")
_QUOTA_RESOURCES = frozenset(
    {*_COMPUTE, *_COUNTED, "requests.storage", "services.nodeports", "services.loadbalancers"}
    | {f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE}
)
_SCOPES = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass")
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})

Item = Mapping[str, Any]


class LimitRange(Resource):
    creates_on_update = True

    def __init__(self) -> None:
        super().__init__(kinds.LIMIT_RANGE)

    def default(self, obj: Object) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            if item.get("type") == "Container":
                limits = (item.get("max") or {}) | (item.get("default") or {})
                requests = (item.get("min") or {}) | limits | (item.get("defaultRequest") or {})
                item |= {name: value for name, value in (("default", limits), ("defaultRequest", requests)) if value}

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        seen: set[str] = set()
        for place, item in items(obj.get("spec"), "limits", SPEC):
            kind = item.get("type") or ""
            errors.invalid_each(place / "type", kind, names.qualified_name(kind))
            if kind and "/" not in kind and kind not in _LIMIT_TYPES:
                errors.invalid(place / "type", kind, "must be a standard limit type or fully qualified")
            if kind in seen:
                errors.duplicate(place / "type", kind)
            seen.add(kind)
            _check_item(errors, place, item, kind)
        return errors.found


def _check_item(errors: Errors, at: Path, item: Item, kind: str) -> None:
    for member in _MEMBERS:
        for name in sorted(item.get(member) or ()):
            check_resource_name(errors, (at / member)[name], name)
    if kind == "Pod":
        for member in ("default", "defaultRequest"):
            if item.get(member):
                errors.forbidden(at / member, "may not be specified when `type` is 'Pod'")
    if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(member) or {}) for member in ("min", "max")):
        errors.required(at / "limits", "either minimum or maximum storage value is required, but neither was provided")
    for name in sorted({name for member in _MEMBERS for name in item.get(member) or ()}):
        _check_order(errors, at, item, name)


# What must not be greater than what, how upstream calls both, and where it reports it.
_ORDER = (
    ("min", "max", "min value", "max value", "min"),
    ("min", "defaultRequest", "min value", "default request value", "defaultRequest"),
    ("defaultRequest", "max", "default request value", "max value", "defaultRequest"),
    ("defaultRequest", "default", "default request value", "default limit value", "defaultRequest"),
    ("min", "default", "min value", "default value", "default"),
    ("default", "max", "default value", "max value", "default"),
)


def _check_order(errors: Errors, at: Path, item: Item, name: str) -> None:
    for less, more, less_name, more_name, blamed in _ORDER:
        low, high = (item.get(less) or {}).get(name), (item.get(more) or {}).get(name)
        if low is not None and high is not None and quantity(low) > quantity(high):
            errors.invalid((at / blamed)[name], item[blamed][name], f"{less_name} {low} is greater than {more_name} {high}")
    ratio = (item.get("maxLimitRequestRatio") or {}).get(name)
    if ratio is not None and quantity(ratio).nanos < NANO:
        errors.invalid((at / "maxLimitRequestRatio")[name], ratio, f"ratio {ratio} is less than 1")


class ResourceQuota(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.RESOURCE_QUOTA)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        _check_amounts(errors, SPEC / "hard", spec.get("hard"))
        scopes = spec.get("scopes") or ()
        if any(scope not in _SCOPES for scope in scopes):
            errors.invalid(SPEC / "scopes", scopes, "unsupported scope")
        if any(pair <= set(scopes) for pair in _OPPOSITES):
            errors.invalid(SPEC / "scopes", scopes, "conflicting scopes")
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if subresource == "status":
            for member in ("hard", "used"):
                _check_amounts(errors, STATUS / member, (obj.get("status") or {}).get(member))
            return errors.found
        errors.found += self.validate(obj)
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        if sorted(new.get("scopes") or ()) != sorted(before.get("scopes") or ()):
            errors.invalid(SPEC / "scopes", new.get("scopes"), "field is immutable")
        return errors.found


def _check_amounts(errors: Errors, at: Path, amounts: Mapping[str, str] | None) -> None:
    for name, amount in sorted((amounts or {}).items()):
        errors.invalid_each(at[name], name, names.qualified_name(name))
        if "/" not in name and name not in _QUOTA_RESOURCES and not is_hugepages(name.removeprefix("requests.").removeprefix("limits.")):
            errors.invalid(at[name], name, "must be a standard resource for quota")
        check_amount(errors, at[name], name, amount)
