"""Where a pod wants to run: affinity, tolerations, spreading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.selectors import check_label_selector, check_node_selector, check_node_selector_term

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def check_affinity(errors: Errors, at: Path, affinity: Mapping[str, Any] | None) -> None:
    if not affinity:
        return
    if (nodes := affinity.get("nodeAffinity")) is not None:
        place = at / "nodeAffinity"
        if nodes.get(_REQUIRED) is not None:
            check_node_selector(errors, place / _REQUIRED, nodes[_REQUIRED])
        for each_place, each in items(nodes, _PREFERRED, place):
            _check_weight(errors, each_place, each)
            check_node_selector_term(errors, each_place / "preference", each.get("preference") or {})
    for name in ("podAffinity", "podAntiAffinity"):
        pods, place = affinity.get(name), at / name
        for each_place, each in items(pods, _REQUIRED, place):
            _check_pod_term(errors, each_place, each)
        for each_place, each in items(pods, _PREFERRED, place):
            _check_weight(errors, each_place, each)
            _check_pod_term(errors, each_place / "podAffinityTerm", each.get("podAffinityTerm") or {})


def _check_weight(errors: Errors, at: Path, preference: Mapping[str, Any]) -> None:
    weight = preference.get("weight") or 0
    if not 1 <= weight <= 100:
        errors.invalid(at / "weight", weight, "must be in the range 1-100")


def _check_pod_term(errors: Errors, at: Path, term: Mapping[str, Any]) -> None:
    check_label_selector(errors, at / "labelSelector", term.get("labelSelector"))
    check_label_selector(errors, at / "namespaceSelector", term.get("namespaceSelector"))
    for name in term.get("namespaces") or ():
        errors.invalid_each(at / "namespace", name, names.dns_label(name))
    key = term.get("topologyKey") or ""
    if not key:
        errors.required(at / "topologyKey", "can not be empty")
    errors.invalid_each(at / "topologyKey", key, names.qualified_name(key))


def check_tolerations(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    for place, toleration in items(spec, "tolerations", at):
        key, operator, effect = (toleration.get(name) or "" for name in ("key", "operator", "effect"))
        if key:
            errors.invalid_each(place / "key", key, names.qualified_name(key))
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.invalid(place / "operator", operator, detail)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            errors.invalid(place / "effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        _check_operator(errors, place / "operator", operator, toleration)
        if effect:
            errors.choice(place / "effect", effect, TAINT_EFFECTS)


def _check_operator(errors: Errors, at: Path, operator: str, toleration: Mapping[str, Any]) -> None:
    value = toleration.get("value") or ""
    if operator in ("Equal", ""):
        problems = names.label_value(value)
        if problems:
            errors.invalid(at, value, ";".join(problems))
    elif operator == "Exists":
        if value:
            errors.invalid(at, value, "value must be empty when `operator` is 'Exists'")
    else:
        errors.unsupported(at, operator, ("Equal", "Exists"))


def check_spreading(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    seen: set[tuple[str, str]] = set()
    for place, constraint in items(spec, "topologySpreadConstraints", at):
        key, otherwise = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if (skew := constraint.get("maxSkew") or 0) <= 0:
            errors.invalid(place / "maxSkew", skew, "must be greater than zero")
        if not key:
            errors.required(place / "topologyKey", "can not be empty")
        errors.invalid_each(place / "topologyKey", key, names.qualified_name(key))
        errors.choice(place / "whenUnsatisfiable", otherwise, ("DoNotSchedule", "ScheduleAnyway"))
        if (key, otherwise) in seen:
            errors.duplicate(place / "{topologyKey, whenUnsatisfiable}", f"{{{key}, {otherwise}}}")
        seen.add((key, otherwise))
        _check_spreading_extras(errors, place, constraint)


def _check_spreading_extras(errors: Errors, at: Path, constraint: Mapping[str, Any]) -> None:
    domains = constraint.get("minDomains")
    if domains is not None:
        if domains <= 0:
            errors.invalid(at / "minDomains", domains, "must be greater than zero")
        if constraint.get("whenUnsatisfiable") != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {constraint.get('whenUnsatisfiable')}"
            errors.invalid(at / "minDomains", domains, detail)
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if constraint.get(name) is not None:
            errors.choice(at / name, constraint[name], ("Honor", "Ignore"))
    check_label_selector(errors, at / "labelSelector", constraint.get("labelSelector"))
