"""Pods: defaults, what their subresources may touch, how long they take to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.model.quality import quality_class
from edgek.server.resources.base import Resource, keep_all_but_status, keep_member
from edgek.server.resources.pod_defaults import default_pod, default_template
from edgek.server.resources.pod_update import check_ephemeral_update, check_pod_update
from edgek.server.resources.pod_warnings import pod_warnings
from edgek.server.resources.validation import names
from edgek.server.resources.validation.containers import check_image_blanks
from edgek.server.resources.validation.fields import IMMUTABLE, METADATA, SPEC, STATUS, Errors, FieldError, Path, items
from edgek.server.resources.validation.podspec import check_pod_annotations, check_pod_spec, check_pod_template

FINISHED = ("Succeeded", "Failed")
GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


class Pod(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.POD)

    def default(self, obj: Object) -> None:
        default_pod(obj.setdefault("spec", {}))
        _default_addresses(obj.get("status") or {})

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        spec = obj["spec"]
        if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
            spec["terminationGracePeriodSeconds"] = 1
        obj["status"] = {"phase": "Pending", "qosClass": quality_class(spec)}
        if spec.get("schedulingGates"):
            obj["status"]["conditions"] = [dict(GATED)]

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        match subresource:
            case "status":
                self._prepare_status(obj, old)
            case "ephemeralcontainers":
                _keep_all_but(obj, old, {"ephemeralContainers": obj["spec"].get("ephemeralContainers")})
            case "resize":
                _keep_all_but(obj, old, _resized(obj["spec"], old["spec"]))
            case _:
                keep_member(obj, old, "status")
        if subresource != "status":
            before: int = objects.metadata(old).get("generation", 0)
            objects.metadata(obj)["generation"] = before + (obj.get("spec") != old.get("spec"))

    def _prepare_status(self, obj: Object, old: Object) -> None:
        keep_all_but_status(obj, old)
        keep_member(objects.metadata(obj), objects.metadata(old), "ownerReferences")
        objects.metadata(obj)["generation"] = objects.metadata(old).get("generation", 0)
        status = obj.setdefault("status", {})
        if not status.get("qosClass"):
            keep_member(status, old.get("status") or {}, "qosClass")

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_pod(errors, obj)
        spec = obj.get("spec") or {}
        if spec.get("ephemeralContainers"):
            errors.forbidden(SPEC / "ephemeralContainers", "cannot be set on create")
        if spec.get("nodeName") and spec.get("schedulingGates"):
            errors.forbidden(SPEC / "nodeName", "cannot be set until all schedulingGates have been cleared")
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        new_spec, old_spec = obj.get("spec") or {}, old.get("spec") or {}
        match subresource:
            case "status":
                _check_status(errors, obj.get("status") or {}, old.get("status") or {})
            case "ephemeralcontainers":
                _check_pod(errors, obj)
                check_ephemeral_update(errors, new_spec, old_spec)
            case "resize":
                _check_pod(errors, obj)
                _check_resize(errors, obj, old)
            case _:
                _check_pod(errors, obj)
                check_pod_update(errors, new_spec, old_spec)
        return errors.found

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        # An update that cannot change what is warned of does not warn of it again.
        return pod_warnings(obj) if old is None or obj.get("spec") != old.get("spec") else ()

    def fields(self, obj: Object) -> Mapping[str, str]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return {
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase") or "",
            "status.podIP": status.get("podIP") or "",
            "status.podIPs": ",".join(each.get("ip") or "" for each in status.get("podIPs") or ()),
            "status.nominatedNodeName": status.get("nominatedNodeName") or "",
        }

    def grace_s(self, obj: Object, asked: int | None) -> int:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in FINISHED:
            return 0
        wanted = spec.get("terminationGracePeriodSeconds") if asked is None else asked
        grace = int(wanted or 0)
        return grace if grace >= 0 else 1


class PodTemplate(Resource):
    generation_of = ("template",)

    def __init__(self) -> None:
        super().__init__(kinds.POD_TEMPLATE)

    def default(self, obj: Object) -> None:
        default_template(obj.setdefault("template", {}))

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        check_pod_template(errors, Path("template"), obj.get("template") or {})
        return errors.found

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        return pod_warnings(obj.get("template") or {}, Path("template.metadata"), Path("template.spec"))


def _default_addresses(status: Object) -> None:
    """The older single members and the lists say the same; where they differ the single one counts, as clients know only that one."""
    for one, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        first, listed = status.get(one), status.get(many)
        if first and (not listed or listed[0].get("ip") != first):
            status[many] = [{"ip": first}]
        elif listed and not first:
            status[one] = listed[0].get("ip") or ""


def _check_pod(errors: Errors, pod: Object) -> None:
    spec = pod.get("spec") or {}
    check_pod_annotations(errors, METADATA / "annotations", objects.annotations(pod), spec)
    check_pod_spec(errors, SPEC, spec)
    for kind in ("containers", "initContainers"):
        for place, container in items(spec, kind, SPEC):
            check_image_blanks(errors, place, container)


def _check_status(errors: Errors, status: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    if nominated := status.get("nominatedNodeName"):
        errors.invalid_each(STATUS / "nominatedNodeName", nominated, names.dns_subdomain(nominated))
    quality = status.get("qosClass")
    if old.get("qosClass") and quality != old["qosClass"]:
        errors.invalid(STATUS / "qosClass", quality or "", IMMUTABLE)
    for place, each in items(status, "podIPs", STATUS):
        errors.invalid_each(place, each.get("ip") or "", names.ip(each.get("ip") or ""))


def _keep_all_but(obj: Object, old: Object, changed: Mapping[str, Any]) -> None:
    """The old pod with these members of its spec; the request's resourceVersion still counts."""
    for member in {*obj, *old} - {"metadata"}:
        keep_member(obj, old, member)
    version = objects.metadata(obj).get("resourceVersion")
    obj["metadata"] = dict(objects.metadata(old))
    if version is not None:
        obj["metadata"]["resourceVersion"] = version
    obj["spec"] = {**old["spec"], **changed}


def _resized(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Containers as they were, but for what they ask for."""
    changed: dict[str, Any] = {}
    for kind in ("containers", "initContainers"):
        wanted = {container.get("name"): container for container in new.get(kind) or ()}
        if old.get(kind):
            changed[kind] = [_with_resources(container, wanted.get(container.get("name")) or container) for container in old[kind]]
    return changed


def _with_resources(container: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in container.items() if name not in ("resources", "resizePolicy")}
    return kept | {name: wanted[name] for name in ("resources", "resizePolicy") if name in wanted}


def _check_resize(errors: Errors, pod: Object, old: Object) -> None:
    quality = (old.get("status") or {}).get("qosClass")
    if quality != quality_class(pod.get("spec") or {}):
        errors.invalid(SPEC, quality, "Pod QOS Class may not change as a result of resizing")
