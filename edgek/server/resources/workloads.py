"""Workloads that keep pods running from a template: Deployment, ReplicaSet, DaemonSet, ReplicationController (StatefulSet: ``stateful.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import default_template, fill_blanks, fill_members
from edgek.server.resources.pod_warnings import pod_warnings
from edgek.server.resources.validation.fields import SPEC, STATUS, Errors, FieldError, Path
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.podspec import check_pod_template
from edgek.server.resources.validation.selectors import check_label_selector, is_empty, is_valid, selects
from edgek.server.resources.validation.values import check_at_most_100_percent, check_positive_int_or_percent, int_or_percent_is_zero

MISMATCH = "`selector` does not match template `labels`"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_TEMPLATE = SPEC / "template"

Spec = Mapping[str, Any]


class Workload(Resource):
    """What the kinds below share."""

    generation_of = ("spec",)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        default_template(spec.setdefault("template", {}))
        self.default_spec(spec)

    def default_spec(self, spec: Object) -> None:
        """The template's defaults are there already."""

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        if old is not None and template == (old.get("spec") or {}).get("template"):
            return ()
        return pod_warnings(template, _TEMPLATE / "metadata", _TEMPLATE / "spec")


class Deployment(Workload):
    def __init__(self) -> None:
        super().__init__(kinds.DEPLOYMENT)

    def default_spec(self, spec: Object) -> None:
        fill_members(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
        strategy = spec.get("strategy") or {}
        spec["strategy"] = strategy
        fill_blanks(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill_members(strategy, {"rollingUpdate": {}})
            fill_members(strategy["rollingUpdate"], {"maxUnavailable": "25%", "maxSurge": "25%"})

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        super().prepare_update(obj, old, subresource)
        if subresource == "status":
            # Its controller's status updates must not undo what others label.
            meta, before = objects.metadata(obj), objects.metadata(old)
            meta.pop("labels", None)
            if "labels" in before:
                meta["labels"] = before["labels"]

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        errors.non_negative(SPEC / "replicas", spec.get("replicas"))
        check_selector(errors, spec, "deployment")
        if is_valid(spec.get("selector")):
            _check_replicated_template(errors, spec, "ReplicaSet")
        else:
            errors.invalid(SPEC / "selector", spec.get("selector"), "invalid label selector")
        _check_deployment_strategy(errors, SPEC / "strategy", spec.get("strategy") or {})
        check_counts(errors, spec, "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
            errors.invalid(SPEC / "progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        if subresource == "status":
            return check_status_counts(obj, ("updatedReplicas", "readyReplicas", "availableReplicas"))
        return [*self.validate(obj), *_selector_changed(obj, old)]


def _check_deployment_strategy(errors: Errors, at: Path, strategy: Spec) -> None:
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate":
        if rolling is not None:
            errors.forbidden(at / "rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif strategy.get("type") == "RollingUpdate":
        surge, unavailable, at = (rolling or {}).get("maxSurge"), (rolling or {}).get("maxUnavailable"), at / "rollingUpdate"
        check_positive_int_or_percent(errors, at / "maxUnavailable", unavailable)
        check_positive_int_or_percent(errors, at / "maxSurge", surge)
        if int_or_percent_is_zero(unavailable) and int_or_percent_is_zero(surge):
            errors.invalid(at / "maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
        check_at_most_100_percent(errors, at / "maxUnavailable", unavailable)
    else:
        errors.unsupported(at, dumped("UpdateStrategy", strategy), ("Recreate", "RollingUpdate"))


class ReplicaSet(Workload):
    def __init__(self) -> None:
        super().__init__(kinds.REPLICA_SET)

    def default_spec(self, spec: Object) -> None:
        fill_members(spec, {"replicas": 1})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        check_counts(errors, spec, "replicas", "minReadySeconds")
        check_selector(errors, spec, "deployment")
        if is_valid(spec.get("selector")):
            _check_replicated_template(errors, spec, "ReplicaSet")
        else:
            errors.invalid(SPEC / "selector", spec.get("selector"), "invalid label selector")
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        if subresource == "status":
            return check_status_counts(obj, ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"))
        return [*self.validate(obj), *_selector_changed(obj, old)]

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}


class ReplicationController(Workload):
    """Its template may be absent, and then that is what is said of it."""

    def __init__(self) -> None:
        super().__init__(kinds.REPLICATION_CONTROLLER)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_members(spec, {"replicas": 1})
        if spec.get("template") is None:
            return
        default_template(spec["template"])
        labels = (spec["template"].get("metadata") or {}).get("labels")
        if labels and not spec.get("selector"):
            spec["selector"] = dict(labels)
        if labels and not objects.labels(obj):
            objects.metadata(obj)["labels"] = dict(labels)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        check_counts(errors, spec, "minReadySeconds")
        selector = spec.get("selector") or {}
        if not selector:
            errors.required(SPEC / "selector")
        check_counts(errors, spec, "replicas")
        if spec.get("template") is None:
            errors.required(_TEMPLATE)
        else:
            _check_replicated_template(errors, {**spec, "selector": {"matchLabels": selector}}, "ReplicationController")
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}


class DaemonSet(Workload):
    def __init__(self) -> None:
        super().__init__(kinds.DAEMON_SET)

    def default_spec(self, spec: Object) -> None:
        fill_members(spec, {"revisionHistoryLimit": 10})
        strategy = spec.get("updateStrategy") or {}
        spec["updateStrategy"] = strategy
        fill_blanks(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill_members(strategy, {"rollingUpdate": {}})
            fill_members(strategy["rollingUpdate"], {"maxUnavailable": 1, "maxSurge": 0})

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        _count_template(obj, 1)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        super().prepare_update(obj, old, subresource)
        before = int(objects.annotations(old).get(TEMPLATE_GENERATION) or 0)
        changed = (obj.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template")
        _count_template(obj, before + changed)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        selector, template = spec.get("selector"), spec.get("template") or {}
        check_label_selector(errors, SPEC / "selector", selector)
        labels = (template.get("metadata") or {}).get("labels")
        if is_valid(selector) and not selects(selector, labels):
            errors.invalid(_TEMPLATE / "metadata" / "labels", labels, MISMATCH)
        if selector is not None and is_empty(selector):
            errors.invalid(SPEC / "selector", selector, "empty selector is invalid for daemonset")
        check_pod_template(errors, _TEMPLATE, template)
        check_runs_forever(errors, template.get("spec") or {}, "DaemonSet")
        errors.non_negative(SPEC / "minReadySeconds", spec.get("minReadySeconds"))
        _check_daemon_strategy(errors, SPEC / "updateStrategy", spec.get("updateStrategy") or {})
        errors.non_negative(SPEC / "revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        if subresource == "status":
            return _negative_counts(obj)
        return [*self.validate(obj), *_selector_changed(obj, old)]


def _count_template(obj: Object, generation: int) -> None:
    """Upstream still shows this count, for clients of an API long gone."""
    meta = objects.metadata(obj)
    meta["annotations"] = (meta.get("annotations") or {}) | {TEMPLATE_GENERATION: str(generation)}


def _check_daemon_strategy(errors: Errors, at: Path, strategy: Spec) -> None:
    if strategy.get("type") == "OnDelete":
        return
    if strategy.get("type") != "RollingUpdate":
        errors.unsupported(at, dumped("UpdateStrategy", strategy), ("RollingUpdate", "OnDelete"))
        return
    rolling, at = strategy.get("rollingUpdate") or {}, at / "rollingUpdate"
    surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
    for member in ("maxUnavailable", "maxSurge"):
        check_positive_int_or_percent(errors, at / member, rolling.get(member))
        check_at_most_100_percent(errors, at / member, rolling.get(member))
    if not int_or_percent_is_zero(surge) and not int_or_percent_is_zero(unavailable):
        errors.invalid(at / "maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif int_or_percent_is_zero(surge) and int_or_percent_is_zero(unavailable):
        errors.required(at / "maxUnavailable", "cannot be 0 when maxSurge is 0")


def check_counts(errors: Errors, spec: Spec, *members: str) -> None:
    for member in members:
        errors.non_negative(SPEC / member, spec.get(member))


def check_selector(errors: Errors, spec: Spec, what: str) -> None:
    selector = spec.get("selector")
    if selector is None:
        errors.required(SPEC / "selector")
        return
    check_label_selector(errors, SPEC / "selector", selector)
    if is_empty(selector):
        errors.invalid(SPEC / "selector", selector, f"empty selector is invalid for {what}")


def _check_replicated_template(errors: Errors, spec: Spec, what: str) -> None:
    """A template that its own selector takes and whose pods run until they are deleted."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    if not selects(selector, labels):
        errors.invalid(_TEMPLATE / "metadata" / "labels", labels, MISMATCH)
    check_pod_template(errors, _TEMPLATE, template)
    check_runs_forever(errors, template.get("spec") or {}, what)


def check_runs_forever(errors: Errors, spec: Spec, what: str) -> None:
    if spec.get("restartPolicy") != "Always":
        errors.unsupported(_TEMPLATE / "spec" / "restartPolicy", spec.get("restartPolicy") or "", ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        errors.forbidden(_TEMPLATE / "spec" / "activeDeadlineSeconds", f"activeDeadlineSeconds in {what} is not Supported")


def _selector_changed(obj: Object, old: Object) -> Sequence[FieldError]:
    errors = Errors()
    errors.immutable(SPEC / "selector", (obj.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector"))
    return errors.found


def _negative_counts(obj: Object) -> list[FieldError]:
    errors = Errors()
    for member, value in (obj.get("status") or {}).items():
        if isinstance(value, int):
            errors.non_negative(STATUS / member, value)
    return errors.found


def check_status_counts(obj: Object, parts: Sequence[str]) -> Sequence[FieldError]:
    """No count below zero, none of the ``parts`` above the whole, and nothing available that is not ready."""
    errors, status = Errors(_negative_counts(obj)), obj.get("status") or {}
    whole, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
    for member in parts:
        if (status.get(member) or 0) > whole:
            errors.invalid(STATUS / member, status[member], "cannot be greater than status.replicas")
    if (status.get("availableReplicas") or 0) > ready:
        errors.invalid(STATUS / "availableReplicas", status["availableReplicas"], "cannot be greater than readyReplicas")
    return errors.found
