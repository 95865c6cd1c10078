"""HorizontalPodAutoscalers, in both versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_members
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError, Path, items

DEFAULT_CPU_PERCENT = 80
METRIC_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
SELECT_POLICIES = ("Disabled", "Max", "Min")
LONGEST_WINDOW_S = 3600
LONGEST_PERIOD_S = 1800
_DOUBLE = {"type": "Percent", "value": 100, "periodSeconds": 15}
_FOUR_PODS = {"type": "Pods", "value": 4, "periodSeconds": 15}
# What a behaviour is where its author says nothing: grow at once, by four pods or double; shrink slowly, after a while.
_BEHAVIOR: dict[str, dict[str, Any]] = {
    "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [_FOUR_PODS, _DOUBLE]},
    "scaleDown": {"selectPolicy": "Max", "policies": [_DOUBLE]},
}

Spec = Mapping[str, Any]


class HorizontalPodAutoscaler(Resource):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_members(spec, {"minReplicas": 1})
        if self.kind is not kinds.HORIZONTAL_POD_AUTOSCALER:
            return
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": DEFAULT_CPU_PERCENT}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        for direction, rules in _BEHAVIOR.items():
            if spec.get("behavior") is not None:
                fill_members(spec["behavior"], {direction: {}})
                fill_members(spec["behavior"][direction], {name: _copied(value) for name, value in rules.items()})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        if least is not None and least < 1:
            errors.invalid(SPEC / "minReplicas", least, "must be greater than or equal to 1")
        if most < 1:
            errors.required(SPEC / "maxReplicas", "must be set and greater than 0")
        if least is not None and most < least:
            errors.invalid(SPEC / "maxReplicas", most, "must be greater than or equal to `minReplicas`")
        _check_target(errors, SPEC / "scaleTargetRef", spec.get("scaleTargetRef") or {})
        if self.kind is kinds.HORIZONTAL_POD_AUTOSCALER:
            _check_metrics(errors, spec, least)
            for direction in ("scaleUp", "scaleDown"):
                rules = (spec.get("behavior") or {}).get(direction)
                if rules is not None:
                    _check_rules(errors, SPEC / "behavior" / direction, rules)
        return errors.found


def _copied(value: Any) -> Any:
    return [dict(each) for each in value] if isinstance(value, list) else value


def _check_target(errors: Errors, at: Path, target: Spec) -> None:
    for member in ("kind", "name"):
        if not target.get(member):
            errors.required(at / member)
    version = target.get("apiVersion") or ""
    if not version:
        errors.invalid(at / "apiVersion", version, "apiVersion must specify API group")


def _check_metrics(errors: Errors, spec: Spec, least: int | None) -> None:
    kinds_of_metric = {metric.get("type") for metric in spec.get("metrics") or ()}
    for place, metric in items(spec, "metrics", SPEC):
        _check_metric(errors, place, metric)
    if least == 0 and kinds_of_metric.isdisjoint({"Object", "External"}):
        errors.forbidden(SPEC / "metrics", "must specify at least one Object or External metric to support scaling to zero replicas")


def _check_metric(errors: Errors, at: Path, metric: Spec) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.required(at / "type", "must specify a metric source type")
        return
    if kind not in METRIC_TYPES:
        # Upstream asks twice.
        for _ in range(2):
            errors.unsupported(at / "type", kind, METRIC_TYPES)
        return
    member = kind[0].lower() + kind[1:]
    source = metric.get(member)
    if source is None:
        errors.required(at / member, f"must populate information for the given metric source (only {member})")
        return
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            errors.required(at / member / "name", "must specify a resource name")
        _check_resource_target(errors, at / member / "target", source.get("target") or {})


def _check_resource_target(errors: Errors, at: Path, target: Spec) -> None:
    percent, value = target.get("averageUtilization"), target.get("averageValue")
    if percent is None and value is None:
        errors.required(at / "averageUtilization", "must set either a target raw value or a target utilization")
    if percent is not None and value is not None:
        errors.forbidden(at / "averageValue", "may not set both a target raw value and a target utilization")
    if percent is not None and percent < 1:
        errors.invalid(at / "averageUtilization", percent, "must be greater than 0")


def _check_rules(errors: Errors, at: Path, rules: Spec) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        errors.invalid(at / "stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window is not None and window > LONGEST_WINDOW_S:
        errors.invalid(at / "stabilizationWindowSeconds", window, f"must be less than or equal to {LONGEST_WINDOW_S}")
    if rules.get("selectPolicy") is not None:
        errors.choice(at / "selectPolicy", rules["selectPolicy"], SELECT_POLICIES)
    if not rules.get("policies"):
        errors.required(at / "policies", "must specify at least one Policy")
    for place, policy in items(rules, "policies", at):
        errors.choice(place / "type", policy.get("type") or "", ("Percent", "Pods"))
        for member in ("value", "periodSeconds"):
            if (policy.get(member) or 0) <= 0:
                errors.invalid(place / member, policy.get(member) or 0, "must be greater than zero")
        if (policy.get("periodSeconds") or 0) > LONGEST_PERIOD_S:
            errors.invalid(place / "periodSeconds", policy["periodSeconds"], f"must be less than or equal to {LONGEST_PERIOD_S}")
