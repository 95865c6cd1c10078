"""StatefulSets: pods with names and volumes of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.metadata import check_annotations, check_labels
from edgek.server.resources.pod_defaults import fill_blanks, fill_members
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError
from edgek.server.resources.validation.podspec import check_pod_annotations
from edgek.server.resources.validation.selectors import is_valid, selects
from edgek.server.resources.validation.values import check_positive_int_or_percent
from edgek.server.resources.workloads import MISMATCH, Workload, check_counts, check_runs_forever, check_selector, check_status_counts

RETENTION = ("Delete", "Retain")
_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_LISTED = ", ".join(f"'{name}'" for name in _CHANGEABLE[:-1])
_REFUSED = f"updates to statefulset spec for fields other than {_LISTED} and '{_CHANGEABLE[-1]}' are forbidden"

Spec = Mapping[str, Any]


class StatefulSet(Workload):
    def __init__(self) -> None:
        super().__init__(kinds.STATEFUL_SET)

    def default_spec(self, spec: Object) -> None:
        fill_blanks(spec, {"podManagementPolicy": "OrderedReady"})
        fill_members(spec, {"replicas": 1, "revisionHistoryLimit": 10, "updateStrategy": {}, "persistentVolumeClaimRetentionPolicy": {}})
        fill_blanks(spec["persistentVolumeClaimRetentionPolicy"], {"whenDeleted": "Retain", "whenScaled": "Retain"})
        strategy = spec["updateStrategy"]
        fill_blanks(strategy, {"type": "RollingUpdate"})
        if strategy["type"] == "RollingUpdate":
            fill_members(strategy, {"rollingUpdate": {}})
            fill_members(strategy["rollingUpdate"], {"partition": 0})
        for claim in spec.get("volumeClaimTemplates") or ():
            claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
            fill_members(claim, {"spec": {}, "status": {}})
            fill_members(claim["spec"], {"volumeMode": "Filesystem"})
            fill_blanks(claim["status"], {"phase": "Pending"})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        policy = spec.get("podManagementPolicy") or ""
        if policy not in ("OrderedReady", "Parallel"):
            errors.invalid(SPEC / "podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
        _check_strategy(errors, spec.get("updateStrategy") or {})
        for member, value in (spec.get("persistentVolumeClaimRetentionPolicy") or {}).items():
            errors.choice(SPEC / "persistentVolumeClaimRetentionPolicy" / member, value, RETENTION)
        check_counts(errors, spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
        errors.non_negative(SPEC / "ordinals" / "start", (spec.get("ordinals") or {}).get("start"))
        check_selector(errors, spec, "statefulset")
        _check_template(errors, spec)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        if subresource == "status":
            return check_status_counts(obj, ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"))
        errors = Errors(list(self.validate(obj)))
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        if any((new.get(name) or None) != (before.get(name) or None) for name in {*new, *before} - set(_CHANGEABLE)):
            errors.forbidden(SPEC, _REFUSED)
        return errors.found


def _check_strategy(errors: Errors, strategy: Spec) -> None:
    at, rolling = SPEC / "updateStrategy", strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "OnDelete":
            if rolling is not None:
                errors.invalid(at / "rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
        case "RollingUpdate":
            errors.non_negative(at / "rollingUpdate" / "partition", (rolling or {}).get("partition"))
            check_positive_int_or_percent(errors, at / "rollingUpdate" / "maxUnavailable", (rolling or {}).get("maxUnavailable"))
        case _:
            errors.invalid(at, strategy, "must be 'RollingUpdate' or 'OnDelete'")


def _check_template(errors: Errors, spec: Spec) -> None:
    """Upstream leaves the pod spec to the pods: its mounts may be of volumes that only the claim templates make."""
    at, template = SPEC / "template", spec.get("template") or {}
    meta, pod = template.get("metadata") or {}, template.get("spec") or {}
    if is_valid(spec.get("selector")) and not selects(spec.get("selector"), meta.get("labels")):
        errors.invalid(at / "metadata" / "labels", meta.get("labels"), MISMATCH)
    check_labels(errors, at / "labels", meta.get("labels"))
    check_annotations(errors, at / "annotations", meta.get("annotations"))
    check_pod_annotations(errors, at / "annotations", meta.get("annotations") or {}, pod)
    check_runs_forever(errors, pod, "StatefulSet")
