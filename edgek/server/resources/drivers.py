"""What runs pods and mounts volumes: runtime classes, CSI drivers, attachments of their volumes."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_members
from edgek.server.resources.validation import names
from edgek.server.resources.validation.affinity import check_tolerations
from edgek.server.resources.validation.compute import check_amounts
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError, Path
from edgek.server.resources.validation.selectors import check_label_map

LIFECYCLES = ("Persistent", "Ephemeral")
FS_GROUP_POLICIES = ("ReadWriteOnceWithFSType", "File", "None")
_TOKENS_SHOWN = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, "
    "set to true to prevent possible logging of tokens in volume attributes"
)


class RuntimeClass(Resource):
    creates_on_update = True
    updates_unconditionally = False

    def __init__(self) -> None:
        super().__init__(kinds.RUNTIME_CLASS)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        handler, scheduling = obj.get("handler") or "", obj.get("scheduling") or {}
        if handler:
            errors.invalid_each(Path("handler"), handler, names.dns_label(handler))
        else:
            errors.required(Path("handler"))
        # Upstream reports them as if they were a container's limits.
        check_amounts(errors, Path("overhead") / "limits", (obj.get("overhead") or {}).get("podFixed"))
        check_label_map(errors, Path("scheduling") / "nodeSelector", scheduling.get("nodeSelector"))
        check_tolerations(errors, Path("scheduling"), scheduling)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        errors.immutable(Path("handler"), obj.get("handler"), old.get("handler"))
        return errors.found


class CsiDriver(Resource):
    updates_unconditionally = False

    def __init__(self) -> None:
        super().__init__(kinds.CSI_DRIVER)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_members(spec, {"attachRequired": True, "fsGroupPolicy": "ReadWriteOnceWithFSType"})
        fill_members(spec, dict.fromkeys(("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"), False))
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        for mode in spec.get("volumeLifecycleModes") or ():
            errors.choice(SPEC / "volumeLifecycleModes", mode, LIFECYCLES)
        if spec.get("fsGroupPolicy") is not None:
            errors.choice(SPEC / "fsGroupPolicy", spec["fsGroupPolicy"], FS_GROUP_POLICIES)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        for member in ("attachRequired", "volumeLifecycleModes"):
            errors.immutable(SPEC / member, (obj.get("spec") or {}).get(member), (old.get("spec") or {}).get(member))
        return errors.found

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        spec = obj.get("spec") or {}
        unset = spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None
        return (_TOKENS_SHOWN,) if unset and (old is None or spec != old.get("spec")) else ()


class VolumeAttachment(Resource):
    updates_unconditionally = False

    def __init__(self) -> None:
        super().__init__(kinds.VOLUME_ATTACHMENT)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        attacher, node, source = spec.get("attacher") or "", spec.get("nodeName") or "", spec.get("source") or {}
        if attacher:
            errors.invalid_each(SPEC / "attacher", attacher, names.dns_subdomain(attacher.lower()))
        else:
            errors.required(SPEC / "attacher")
        volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
        if volume is None and inline is None:
            errors.required(SPEC / "source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
        elif volume is not None and inline is not None:
            errors.forbidden(SPEC / "source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
        elif volume is not None:
            errors.invalid_each(SPEC / "source" / "persistentVolumeName", volume, names.dns_subdomain(volume))
        errors.invalid_each(SPEC / "nodeName", node, names.dns_subdomain(node))
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if obj.get("spec") != old.get("spec"):
            errors.invalid(SPEC, obj.get("spec"), "field is immutable")
        return errors.found
