"""Jobs: pods that are to end. Their selector is made from the job's uid, so that no two jobs claim the same pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import default_template, fill_blanks, fill_members
from edgek.server.resources.pod_warnings import pod_warnings
from edgek.server.resources.validation import names
from edgek.server.resources.validation.failure_policy import check_failure_policy
from edgek.server.resources.validation.fields import OMIT, SPEC, STATUS, Errors, FieldError, Path
from edgek.server.resources.validation.goview import dumped, dumped_template
from edgek.server.resources.validation.podspec import check_pod_template
from edgek.server.resources.validation.selectors import check_label_selector, selects
from edgek.server.resources.validation.values import MAX_INT32

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"
MOST_PARALLEL_INDEXED = 100_000
MOST_MANAGED_BY = 63
COMPLETION_MODES = ("Indexed", "NonIndexed")
REPLACEMENT_POLICIES = ("Failed", "TerminatingOrFailed")
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
# What may still be changed in the template of a job that waits to be started.
_DIRECTIVES = ("nodeSelector", "affinity", "tolerations", "schedulingGates")

Spec = Mapping[str, Any]


class Job(Resource):
    generation_of = ("spec",)
    # Upstream never changed what jobs did before there was a garbage collector.
    default_propagation = "Orphan"

    def __init__(self) -> None:
        super().__init__(kinds.JOB)

    def default(self, obj: Object) -> None:
        default_job_spec(obj.setdefault("spec", {}))
        _label_like_template(obj)

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        if not obj["spec"].get("manualSelector"):
            _make_selector(obj)
        _label_like_template(obj)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_made_selector(errors, obj)
        _check_spec_with_selector(errors, obj.get("spec") or {})
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if subresource == "status":
            _check_status(errors, obj.get("status") or {})
            return errors.found
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        _check_made_selector(errors, obj)
        # Upstream looks at the spec twice, and says everything twice.
        for _ in range(2):
            _check_spec_with_selector(errors, new)
        _check_update(errors, new, before, old.get("status") or {})
        return errors.found

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        if old is not None and template == (old.get("spec") or {}).get("template"):
            return ()
        return pod_warnings(template, SPEC / "template" / "metadata", SPEC / "template" / "spec")

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.successful": str((obj.get("status") or {}).get("succeeded") or 0)}


def default_job_spec(spec: Object) -> None:
    """Of a job, or of a cron job's template."""
    default_template(spec.setdefault("template", {}))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    limit = 6 if spec.get("backoffLimitPerIndex") is None else MAX_INT32
    fill_members(spec, {"parallelism": 1, "backoffLimit": limit, "completionMode": "NonIndexed", "suspend": False, "manualSelector": False})
    policy = spec.get("podFailurePolicy")
    fill_members(spec, {"podReplacementPolicy": "TerminatingOrFailed" if policy is None else "Failed"})
    for rule in (policy or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            fill_blanks(condition, {"status": "True"})


def _label_like_template(obj: Object) -> None:
    labels = (obj["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not objects.labels(obj):
        objects.metadata(obj)["labels"] = dict(labels)


def _made_labels(obj: Object) -> dict[str, str]:
    uid, name = objects.uid(obj), objects.name(obj)
    return {UID_LABEL: uid, NAME_LABEL: name, "controller-uid": uid, "job-name": name}


def _make_selector(obj: Object) -> None:
    spec = obj["spec"]
    meta = spec["template"].setdefault("metadata", {})
    meta["labels"] = (meta.get("labels") or {}) | _made_labels(obj)
    selector = spec.get("selector") or {}
    spec["selector"] = selector | {"matchLabels": (selector.get("matchLabels") or {}) | {UID_LABEL: objects.uid(obj)}}


def _check_made_selector(errors: Errors, job: Object) -> None:
    spec = job.get("spec") or {}
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return
    if not selects(selector, _template_labels(spec)):
        errors.invalid(SPEC / "selector", selector, "`selector` not auto-generated")


def _template_labels(spec: Spec) -> dict[str, str] | None:
    labels: dict[str, str] | None = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    return labels


def _check_spec_with_selector(errors: Errors, spec: Spec) -> None:
    check_job_spec(errors, SPEC, spec)
    selector = spec.get("selector")
    if selector is None:
        errors.required(SPEC / "selector")
    else:
        check_label_selector(errors, SPEC / "selector", selector)
    labels = _template_labels(spec)
    if not selects(selector, labels):
        errors.invalid(SPEC / "template" / "metadata" / "labels", labels, "`selector` does not match template `labels`")


def check_job_spec(errors: Errors, at: Path, spec: Spec) -> None:
    """All but the selector, which a cron job's template has not got."""
    for member in _COUNTS:
        errors.non_negative(at / member, spec.get(member))
    if (manager := spec.get("managedBy")) is not None:
        errors.invalid_each(at / "managedBy", manager, names.domain_prefixed_path(manager))
        if len(manager) > MOST_MANAGED_BY:
            errors.too_long(at / "managedBy", MOST_MANAGED_BY)
    _check_completion_mode(errors, at, spec)
    template = spec.get("template") or {}
    policy = spec.get("podFailurePolicy")
    if policy is not None:
        check_failure_policy(errors, at / "podFailurePolicy", policy, template.get("spec") or {})
    _check_replacement(errors, at / "podReplacementPolicy", spec)
    check_pod_template(errors, at / "template", template)
    restart, place = (template.get("spec") or {}).get("restartPolicy"), at / "template" / "spec" / "restartPolicy"
    if restart in ("", "Always"):
        errors.required(place, 'valid values: "OnFailure", "Never"')
    elif restart not in ("OnFailure", "Never"):
        errors.unsupported(place, restart, ("OnFailure", "Never"))
    elif policy is not None and restart != "Never":
        errors.invalid(place, restart, 'only "Never" is supported when podFailurePolicy is specified')


def _check_completion_mode(errors: Errors, at: Path, spec: Spec) -> None:
    mode = spec.get("completionMode")
    if mode is not None:
        errors.choice(at / "completionMode", mode, COMPLETION_MODES)
    if mode == "Indexed":
        if spec.get("completions") is None:
            errors.required(at / "completions", "when completion mode is Indexed")
        if (spec.get("parallelism") or 0) > MOST_PARALLEL_INDEXED:
            detail = f"must be less than or equal to {MOST_PARALLEL_INDEXED} when completion mode is Indexed"
            errors.invalid(at / "parallelism", spec["parallelism"], detail)
    elif spec.get("backoffLimitPerIndex") is not None:
        errors.invalid(at / "backoffLimitPerIndex", spec["backoffLimitPerIndex"], "requires indexed completion mode")


def _check_replacement(errors: Errors, at: Path, spec: Spec) -> None:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return
    # With a failure policy, a pod that is still ending cannot be judged yet, and so not replaced.
    errors.choice(at, policy, REPLACEMENT_POLICIES if spec.get("podFailurePolicy") is None else ("Failed",))


def _check_update(errors: Errors, new: Spec, old: Spec, status: Mapping[str, Any]) -> None:
    # An indexed job may grow or shrink as long as it runs all its indexes at once.
    elastic = new.get("completionMode") == "Indexed" and new.get("completions") == new.get("parallelism")
    if not elastic:
        errors.immutable(SPEC / "completions", new.get("completions"), old.get("completions"))
    errors.immutable(SPEC / "selector", new.get("selector"), old.get("selector"))
    _check_template_update(
        errors, new.get("template") or {}, old.get("template") or {}, waiting=bool(old.get("suspend")) and not status.get("startTime")
    )
    for member in _FIXED:
        errors.immutable(SPEC / member, new.get(member), old.get(member))


def _check_template_update(errors: Errors, new: Spec, old: Spec, *, waiting: bool) -> None:
    at = SPEC / "template"
    if not waiting:
        if new != old:
            errors.invalid(at, dumped_template(new), "field is immutable")
        return
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if _without_directives(spec) != _without_directives(before):
        kept = spec | {name: before.get(name) for name in _DIRECTIVES}
        errors.invalid(at / "spec", dumped("PodSpec", kept), "field is immutable")


def _without_directives(spec: Spec) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in _DIRECTIVES}


def _check_status(errors: Errors, status: Mapping[str, Any]) -> None:
    for member in ("active", "succeeded", "failed", "ready", "terminating"):
        errors.non_negative(STATUS / member, status.get(member))
    true = {condition.get("type") for condition in status.get("conditions") or () if condition.get("status") == "True"}
    complete, failed, completed = "Complete" in true, "Failed" in true, status.get("completionTime")
    if complete and not completed:
        errors.required(STATUS / "completionTime", "completionTime is required for Complete jobs")
    if completed and not complete:
        errors.invalid(STATUS / "completionTime", completed, "cannot set completionTime when there is no Complete=True condition")
    at = STATUS / "conditions"
    if complete and failed:
        errors.invalid(at, OMIT, "cannot set Complete=True and Failed=true conditions")
    if complete and "SuccessCriteriaMet" not in true:
        errors.invalid(at, OMIT, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if failed and "FailureTarget" not in true:
        errors.invalid(at, OMIT, "cannot set Failed=True condition without the FailureTarget=true condition")
    if (complete or failed) and not status.get("startTime"):
        errors.required(STATUS / "startTime", "startTime is required for finished job")
    if (complete or failed) and (status.get("active") or 0) > 0:
        errors.invalid(STATUS / "active", status["active"], "active>0 is invalid for finished job")
