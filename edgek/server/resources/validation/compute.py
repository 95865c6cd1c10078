"""Compute resources: requests and limits of containers and pods, capacity of nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgek.model.quality import QOS_RESOURCES
from edgek.model.quantity import NANO, Quantity
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.values import AT_LEAST_0, quantity

CONTAINER_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_QUOTA_COUNTS = frozenset(
    {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports"}
    | {"services.loadbalancers"}
)
_STANDARD = (
    CONTAINER_RESOURCES
    | _QUOTA_COUNTS
    | {"requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage", "limits.cpu", "limits.memory"}
    | {"limits.ephemeral-storage", "storage"}
)


def is_hugepages(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """A countable thing that a device plugin offers, such as ``example.com/gpu``."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def may_be_overcommitted(name: str) -> bool:
    return is_native(name) and not is_hugepages(name)


def is_whole(value: Quantity) -> bool:
    return value.nanos % NANO == 0


def check_resource_name(errors: Errors, at: Path, name: str) -> bool:
    problems = names.qualified_name(name)
    errors.invalid_each(at, name, problems)
    if problems:
        return False
    if "/" not in name and name not in _STANDARD and not is_hugepages(name):
        errors.invalid(at, name, "must be a standard resource type or fully qualified")
        return False
    return True


def check_amount(errors: Errors, at: Path, name: str, amount: str) -> None:
    """Not negative, and whole where only whole things can be had."""
    value = quantity(amount)
    if value.nanos < 0:
        errors.invalid(at, amount, AT_LEAST_0)
    if (name in _QUOTA_COUNTS or is_extended(name)) and not is_whole(value):
        errors.invalid(at, amount, "must be an integer")


def check_amounts(errors: Errors, at: Path, amounts: Mapping[str, str] | None, *, dotted: bool = False) -> None:
    """A resource list outside containers: ``overhead``, a node's capacity (whose errors name the resource after a dot)."""
    for name, amount in sorted((amounts or {}).items()):
        place = at / name if dotted else at[name]
        check_resource_name(errors, place, name)
        check_amount(errors, place, name, amount)


def _check_container_resource_name(errors: Errors, at: Path, name: str) -> None:
    if not check_resource_name(errors, at, name):
        return
    if "/" not in name:
        if name not in CONTAINER_RESOURCES and not is_hugepages(name):
            errors.invalid(at, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        errors.invalid(at, name, "doesn't follow extended resource name standard")


def check_requirements(errors: Errors, at: Path, resources: Mapping[str, Any] | None, claims: Collection[str] = ()) -> None:
    """``resources`` of a container; ``claims`` are the names that the pod offers."""
    resources = resources or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in sorted(limits.items()):
        place = (at / "limits")[name]
        _check_container_resource_name(errors, place, name)
        check_amount(errors, place, name, amount)
    for name, amount in sorted(requests.items()):
        place = (at / "requests")[name]
        _check_container_resource_name(errors, place, name)
        check_amount(errors, place, name, amount)
        _check_against_limit(errors, at, name, amount, limits.get(name))
    asked = {*limits, *requests}
    if any(map(is_hugepages, asked)) and asked.isdisjoint(QOS_RESOURCES):
        errors.forbidden(at, "HugePages require cpu or memory")
    _check_claims(errors, at, resources, claims)


def _check_against_limit(errors: Errors, at: Path, name: str, amount: str, limit: str | None) -> None:
    if limit is None:
        if not may_be_overcommitted(name):
            errors.required(at / "limits", "Limit must be set for non overcommitable resources")
        return
    request, most = quantity(amount), quantity(limit)
    if request != most and not may_be_overcommitted(name):
        errors.invalid(at / "requests", amount, f"must be equal to {name} limit of {limit}")
    elif request > most:
        errors.invalid(at / "requests", amount, f"must be less than or equal to {name} limit of {limit}")


def _check_claims(errors: Errors, at: Path, resources: Mapping[str, Any], offered: Collection[str]) -> None:
    seen: set[tuple[str, str]] = set()
    for place, claim in items(resources, "claims", at):
        name, request = claim.get("name") or "", claim.get("request") or ""
        if not name:
            errors.required(place)
        elif (name, request) in seen:
            errors.duplicate(place, name)
        elif name not in offered:
            listed = f": {', '.join(sorted(offered))}" if offered else " which is empty"
            errors.not_found(place, name, f"must be one of the names in pod.spec.resourceClaims{listed}")
        seen.add((name, request))
