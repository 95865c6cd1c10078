"""Disruption budgets and priority classes."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_members
from edgek.server.resources.validation.fields import METADATA, SPEC, STATUS, Errors, FieldError, Path
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.selectors import check_label_selector
from edgek.server.resources.validation.values import check_at_most_100_percent, check_positive_int_or_percent

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
PREEMPTION_POLICIES = ("Never", "PreemptLowerPriority")


class PodDisruptionBudget(Resource):
    updates_unconditionally = False
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.POD_DISRUPTION_BUDGET)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        spec = obj.get("spec") or {}
        both = ("minAvailable", "maxUnavailable")
        if all(spec.get(member) is not None for member in both):
            detail = "minAvailable and maxUnavailable cannot be both set"
            errors.invalid(SPEC, dumped("PodDisruptionBudgetSpec", spec), detail)
        for member in both:
            check_positive_int_or_percent(errors, SPEC / member, spec.get(member))
            check_at_most_100_percent(errors, SPEC / member, spec.get(member))
        check_label_selector(errors, SPEC / "selector", spec.get("selector"))
        if spec.get("unhealthyPodEvictionPolicy") is not None:
            policies = ("AlwaysAllow", "IfHealthyBudget")
            errors.choice(SPEC / "unhealthyPodEvictionPolicy", spec["unhealthyPodEvictionPolicy"], policies)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        if subresource != "status":
            return self.validate(obj)
        errors = Errors()
        status = obj.get("status") or {}
        for member in _COUNTS:
            errors.non_negative(STATUS / member, status.get(member))
        return errors.found


class PriorityClass(Resource):
    # Which cannot change: upstream gives priority classes a generation and never counts it.
    generation_of = ("value",)

    def __init__(self) -> None:
        super().__init__(kinds.PRIORITY_CLASS)

    def default(self, obj: Object) -> None:
        fill_members(obj, {"preemptionPolicy": "PreemptLowerPriority", "value": 0})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        name, value = objects.name(obj), obj.get("value") or 0
        if name.startswith("system-"):
            if problem := _system_problem(obj):
                detail = f"priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
                errors.forbidden(METADATA / "name", detail)
        elif value > HIGHEST_USER_PRIORITY:
            errors.forbidden(Path("value"), f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
        if obj.get("preemptionPolicy") is not None:
            errors.choice(Path("preemptionPolicy"), obj["preemptionPolicy"], PREEMPTION_POLICIES)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if (obj.get("value") or 0) != (old.get("value") or 0):
            errors.forbidden(Path("value"), "may not be changed in an update.")
        errors.immutable(Path("preemptionPolicy"), obj.get("preemptionPolicy"), old.get("preemptionPolicy"))
        return errors.found


def _system_problem(obj: Object) -> str:
    name = objects.name(obj)
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if obj.get("value") != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if obj.get("globalDefault") else ""
