"""DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize."""

from __future__ import annotations

from edgek.model import default_class, kinds, objects, quantity
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
# Only kinds whose finalizer a controller takes off again: VolumeAttributesClasses have none here.
PROTECTION: dict[Kind, str] = {
    kinds.PERSISTENT_VOLUME_CLAIM: "kubernetes.io/pvc-protection",
    kinds.PERSISTENT_VOLUME: "kubernetes.io/pv-protection",
}


class DefaultStorageClass(Step):
    name = "DefaultStorageClass"
    about = (kinds.PERSISTENT_VOLUME_CLAIM,)

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        if spec.get("storageClassName") is not None or CLASS_ANNOTATION in objects.annotations(review.obj):
            return  # an empty name is a wish too: no class
        default = default_class.newest_default(review.find(kinds.STORAGE_CLASS, ""), default_class.STORAGE)
        if default:
            spec["storageClassName"] = default


class StorageObjectInUseProtection(Step):
    name = "StorageObjectInUseProtection"
    about = tuple(PROTECTION)

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        finalizer = PROTECTION[review.kind]
        if finalizer not in objects.finalizers(review.obj):
            objects.metadata(review.obj)["finalizers"] = [*objects.finalizers(review.obj), finalizer]


class PersistentVolumeClaimResize(Step):
    name = "PersistentVolumeClaimResize"
    about = (kinds.PERSISTENT_VOLUME_CLAIM,)
    operations = ("UPDATE",)

    def validate(self, review: Review) -> None:
        assert review.obj is not None
        wanted, before = _requested(review.obj), _requested(review.old or {})
        if not wanted or not before or quantity.parse(wanted) <= quantity.parse(before):
            return
        name = (review.obj.get("spec") or {}).get("storageClassName") or ""
        storage_class = review.get(kinds.STORAGE_CLASS, name, "") if name else None
        if not (storage_class or {}).get("allowVolumeExpansion"):
            why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
            raise refused(review, why)


def _requested(claim: Object) -> str:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return str(requests.get("storage") or "")
