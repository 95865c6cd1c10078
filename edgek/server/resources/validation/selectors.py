"""Label selectors, and the node selectors that look like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path, items

VALUES_WANTED = "must be specified when `operator` is 'In' or 'NotIn'"
VALUES_UNWANTED = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
BAD_OPERATOR = "not a valid selector operator"


def check_label_map(errors: Errors, at: Path, labels: Mapping[str, str] | None) -> None:
    for key, value in sorted((labels or {}).items()):
        errors.invalid_each(at, key, names.qualified_name(key))
        errors.invalid_each(at, value, names.label_value(value))


def check_label_selector(errors: Errors, at: Path, selector: Mapping[str, Any] | None) -> None:
    if not selector:
        return
    check_label_map(errors, at / "matchLabels", selector.get("matchLabels"))
    for place, requirement in items(selector, "matchExpressions", at):
        operator, values = requirement.get("operator") or "", requirement.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                errors.required(place / "values", VALUES_WANTED)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.forbidden(place / "values", VALUES_UNWANTED)
        else:
            errors.invalid(place / "operator", operator, BAD_OPERATOR)
        key = requirement.get("key") or ""
        errors.invalid_each(place / "key", key, names.qualified_name(key))
        for index, value in enumerate(values):
            errors.invalid_each((place / "values")[index], value, names.label_value(value))


def is_empty(selector: Mapping[str, Any] | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def is_valid(selector: Mapping[str, Any] | None) -> bool:
    errors = Errors()
    check_label_selector(errors, Path(), selector)
    return not errors.found


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether a label selector takes these labels. None takes nothing, an empty one everything."""
    if selector is None:
        return False
    have = labels or {}
    wanted = selector.get("matchLabels") or {}
    return all(have.get(key) == value for key, value in wanted.items()) and all(
        _holds(requirement, have) for requirement in selector.get("matchExpressions") or ()
    )


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = requirement.get("key") or "", requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def check_node_selector(errors: Errors, at: Path, selector: Mapping[str, Any]) -> None:
    if not selector.get("nodeSelectorTerms"):
        errors.required(at / "nodeSelectorTerms", "must have at least one node selector term")
    for place, term in items(selector, "nodeSelectorTerms", at):
        check_node_selector_term(errors, place, term)


def check_node_selector_term(errors: Errors, at: Path, term: Mapping[str, Any]) -> None:
    for place, requirement in items(term, "matchExpressions", at):
        _check_node_requirement(errors, place, requirement)
    for place, requirement in items(term, "matchFields", at):
        _check_node_field(errors, place, requirement)


def _check_node_requirement(errors: Errors, at: Path, requirement: Mapping[str, Any]) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            errors.required(at / "values", VALUES_WANTED)
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.forbidden(at / "values", VALUES_UNWANTED)
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            errors.required(at / "values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        errors.invalid(at / "operator", operator, BAD_OPERATOR)
    key = requirement.get("key") or ""
    errors.invalid_each(at / "key", key, names.qualified_name(key))


def _check_node_field(errors: Errors, at: Path, requirement: Mapping[str, Any]) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            errors.required(at / "values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
    else:
        errors.invalid(at / "operator", operator, BAD_OPERATOR)
    key = requirement.get("key") or ""
    if key != "metadata.name":
        errors.invalid(at / "key", key, "not a valid field selector key")
        return
    for index, value in enumerate(values):
        errors.invalid_each((at / "values")[index], value, names.dns_subdomain(value))
