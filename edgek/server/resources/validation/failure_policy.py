"""When a job's failed pod means more than a retry (https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import OMIT, Errors, Path, items

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
MOST_RULES = 20
MOST_EXIT_CODES = 255


def check_failure_policy(errors: Errors, at: Path, policy: Mapping[str, Any], pod_spec: Mapping[str, Any]) -> None:
    rules = policy.get("rules") or ()
    if len(rules) > MOST_RULES:
        errors.too_many(at / "rules", len(rules), MOST_RULES)
    containers = {each.get("name") for kind in ("containers", "initContainers") for each in pod_spec.get(kind) or ()}
    for place, rule in items(policy, "rules", at):
        _check_rule(errors, place, rule, containers)


def _check_rule(errors: Errors, at: Path, rule: Mapping[str, Any], containers: set[Any]) -> None:
    action = rule.get("action") or ""
    if action:
        errors.choice(at / "action", action, ACTIONS)
    else:
        errors.required(at / "action", 'valid values: "Count", "FailIndex", "FailJob", "Ignore"')
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if codes is not None:
        _check_exit_codes(errors, at / "onExitCodes", codes, containers)
    for place, condition in items(rule, "onPodConditions", at):
        errors.invalid_each(place / "type", condition.get("type") or "", names.qualified_name(condition.get("type") or ""))
        errors.choice(place / "status", condition.get("status") or "", ("False", "True", "Unknown"))
    if codes is not None and conditions:
        errors.invalid(at, OMIT, "specifying both OnExitCodes and OnPodConditions is not supported")
    if codes is None and not conditions:
        errors.invalid(at, OMIT, "specifying one of OnExitCodes and OnPodConditions is required")


def _check_exit_codes(errors: Errors, at: Path, codes: Mapping[str, Any], containers: set[Any]) -> None:
    operator, values, name = codes.get("operator") or "", codes.get("values") or (), codes.get("containerName")
    if operator:
        errors.choice(at / "operator", operator, ("In", "NotIn"))
    else:
        errors.required(at / "operator", 'valid values: "In", "NotIn"')
    if name is not None and name not in containers:
        errors.invalid(at / "containerName", name, "must be one of the container or initContainer names in the pod template")
    if not values:
        errors.invalid(at / "values", values, "at least one value is required")
    elif len(values) > MOST_EXIT_CODES:
        errors.too_many(at / "values", len(values), MOST_EXIT_CODES)
    for place, value in items(codes, "values", at):
        if value == 0 and operator == "In":
            errors.invalid(place, value, "must not be 0 for the In operator")
        if list(values).count(value) > 1:
            errors.duplicate(place, value)
    if list(values) != sorted(values):
        errors.invalid(at / "values", values, "must be ordered")
