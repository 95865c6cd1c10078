"""Persistent volumes, claims on them, and the classes that make them (https://kubernetes.io/docs/concepts/storage/)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource, keep_member
from edgek.server.resources.pod_defaults import default_volume_source, fill_blanks, fill_members
from edgek.server.resources.validation import names
from edgek.server.resources.validation.claims import VOLUME_MODES, check_access_modes, check_claim_spec
from edgek.server.resources.validation.compute import check_amounts
from edgek.server.resources.validation.fields import SPEC, STATUS, Errors, FieldError, Path, items
from edgek.server.resources.validation.goview import difference
from edgek.server.resources.validation.selectors import check_node_selector
from edgek.server.resources.validation.sources import SOURCES
from edgek.server.resources.validation.values import quantity

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_CLAIM_REFUSED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
_SOURCE_REFUSED = "spec.persistentvolumesource is immutable after creation"
MOST_PARAMETERS = 512
MOST_PARAMETER_BYTES = 256 * 1024

# The order in which upstream looks: the second source found is the one too many.
_SOURCE_ORDER = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
)


class PersistentVolume(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.PERSISTENT_VOLUME)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_blanks(spec, {"persistentVolumeReclaimPolicy": "Retain"})
        fill_members(spec, {"volumeMode": "Filesystem"})
        default_volume_source(spec)

    def prepare_create(self, obj: Object) -> None:
        created = objects.metadata(obj).get("creationTimestamp")
        obj["status"] = {"phase": "Pending"} | ({"lastPhaseTransitionTime": created} if created else {})

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        super().prepare_update(obj, old, subresource)
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        if status.get("phase") != before.get("phase"):
            if status.get("lastPhaseTransitionTime") in (None, before.get("lastPhaseTransitionTime")):
                status["lastPhaseTransitionTime"] = wallclock.now_rfc3339()
        elif "lastPhaseTransitionTime" not in status:
            keep_member(status, before, "lastPhaseTransitionTime")

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_volume(errors, obj.get("spec") or {})
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        if {name: new.get(name) for name in _SOURCE_ORDER} != {name: before.get(name) for name in _SOURCE_ORDER}:
            shown = difference("PersistentVolumeSource", before, new)
            errors.forbidden(SPEC / "persistentvolumesource", f"{_SOURCE_REFUSED}\n{shown}")
        errors.immutable(Path("volumeMode"), new.get("volumeMode"), before.get("volumeMode"))
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"name": objects.name(obj)}


def _check_volume(errors: Errors, spec: Mapping[str, Any]) -> None:
    modes, capacity = spec.get("accessModes") or (), spec.get("capacity")
    if not modes:
        errors.required(SPEC / "accessModes")
    check_access_modes(errors, SPEC / "accessModes", modes)
    if not capacity:
        errors.required(SPEC / "capacity")
    if not capacity or "storage" not in capacity or len(capacity) > 1:
        errors.unsupported(SPEC / "capacity", capacity, ("storage",))
    for name, amount in sorted((capacity or {}).items()):
        if quantity(amount).nanos <= 0:
            errors.invalid((SPEC / "capacity")[name], amount, "must be greater than zero")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        errors.choice(SPEC / "persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        _check_affinity(errors, affinity)
    _check_source(errors, spec)
    if spec.get("local") is not None and not (affinity or {}).get("required"):
        errors.required(SPEC / "nodeAffinity", "Local volume requires node affinity")
    host_path = (spec.get("hostPath") or {}).get("path")
    if host_path == "/" and policy == "Recycle":
        errors.forbidden(SPEC / "persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
    if spec.get("storageClassName"):
        errors.invalid_each(SPEC / "storageClassName", spec["storageClassName"], names.dns_subdomain(spec["storageClassName"]))
    if spec.get("volumeMode") is not None:
        errors.choice(SPEC / "volumeMode", spec["volumeMode"], VOLUME_MODES)


def _check_affinity(errors: Errors, affinity: Mapping[str, Any]) -> None:
    at = SPEC / "nodeAffinity" / "required"
    if affinity.get("required") is None:
        errors.required(at, "must specify required node constraints")
    else:
        check_node_selector(errors, at, affinity["required"])


def _check_source(errors: Errors, spec: Mapping[str, Any]) -> None:
    given = [name for name in _SOURCE_ORDER if spec.get(name) is not None]
    if not given:
        errors.required(SPEC, "must specify a volume type")
    for index, name in enumerate(given):
        if index:
            errors.forbidden(SPEC / name, "may not specify more than 1 volume type")
        else:
            SOURCES[name](errors, SPEC / name, spec[name])


class PersistentVolumeClaim(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.PERSISTENT_VOLUME_CLAIM)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_members(spec, {"volumeMode": "Filesystem"})
        _mirror_data_source(spec)
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        check_claim_spec(errors, SPEC, obj.get("spec") or {})
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        if subresource == "status":
            check_access_modes(errors, STATUS / "accessModes", (obj.get("status") or {}).get("accessModes") or ())
            check_amounts(errors, STATUS / "capacity", (obj.get("status") or {}).get("capacity"))
            return errors.found
        errors.found += self.validate(obj)
        _check_claim_update(errors, obj, old)
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"name": objects.name(obj)}


def _mirror_data_source(spec: Object) -> None:
    """``dataSource`` and ``dataSourceRef`` say the same. What ``dataSource`` cannot say is dropped from it, for the sake of old clients."""
    source = spec.get("dataSource")
    if source is not None and not _fits_data_source(source):
        del spec["dataSource"]
        source = None
    reference = spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif source is None and reference is not None and _fits_data_source(reference):
        spec["dataSource"] = dict(reference)


def _fits_data_source(source: Mapping[str, Any]) -> bool:
    return not source.get("namespace") and bool(source.get("apiGroup") or source.get("kind") == "PersistentVolumeClaim")


def _check_claim_update(errors: Errors, claim: Object, old: Object) -> None:
    new, before = claim.get("spec") or {}, old.get("spec") or {}
    bound = (old.get("status") or {}).get("phase") == "Bound"
    undone = dict(new)
    if not before.get("volumeName"):
        # Binding names the volume, and that is the one time it changes.
        undone["volumeName"] = before.get("volumeName")
    if before.get("storageClassName") is None and new.get("storageClassName"):
        # A default class may be given later to a claim that named none.
        undone["storageClassName"] = None
    if bound:
        undone["resources"] = (new.get("resources") or {}) | {"requests": (before.get("resources") or {}).get("requests")}
        undone["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
    if _meaning(undone) != _meaning(before):
        errors.forbidden(SPEC, f"{_CLAIM_REFUSED}\n{difference('PersistentVolumeClaimSpec', before, undone)}")
    if bound and _storage(new) < _storage(before):
        least = quantity((((old.get("status") or {}).get("capacity")) or {}).get("storage"))
        if _storage(new) <= least or not least.nanos:
            errors.forbidden(SPEC / "resources" / "requests" / "storage", "field can not be less than status.capacity")


def _storage(spec: Mapping[str, Any]) -> Any:
    return quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage"))


def _meaning(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Absent and null are the same here; an empty storage class is not an absent one."""
    return {name: value for name, value in spec.items() if value is not None and (value or name == "storageClassName")}


class StorageClass(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.STORAGE_CLASS)

    def default(self, obj: Object) -> None:
        fill_members(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        provisioner = obj.get("provisioner") or ""
        if not provisioner:
            errors.required(Path("provisioner"), provisioner)
        else:
            errors.invalid_each(Path("provisioner"), provisioner, names.qualified_name(provisioner.lower()))
        _check_parameters(errors, obj.get("parameters") or {})
        if obj.get("reclaimPolicy"):
            errors.choice(Path("reclaimPolicy"), obj["reclaimPolicy"], ("Delete", "Retain"))
        errors.choice(Path("volumeBindingMode"), obj.get("volumeBindingMode") or "", BINDING_MODES)
        for place, topology in items(obj, "allowedTopologies", Path()):
            _check_topology(errors, place, topology)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        for member in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            errors.immutable(Path(member), obj.get(member), old.get(member))
        return errors.found


def _check_parameters(errors: Errors, parameters: Mapping[str, str]) -> None:
    at = Path("parameters")
    if len(parameters) > MOST_PARAMETERS:
        errors.too_many(at, len(parameters), MOST_PARAMETERS)
        return
    for key in parameters:
        if not key:
            errors.invalid(at, key, "field can not be empty.")
    if sum(len(key) + len(value) for key, value in parameters.items()) > MOST_PARAMETER_BYTES:
        errors.too_long(at, MOST_PARAMETER_BYTES)


def _check_topology(errors: Errors, at: Path, topology: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    if not topology.get("matchLabelExpressions"):
        errors.required(at / "matchLabelExpressions")
    for place, expression in items(topology, "matchLabelExpressions", at):
        key = expression.get("key") or ""
        if not expression.get("values"):
            errors.required(place / "values")
        errors.invalid_each(place / "key", key, names.qualified_name(key))
        if key in seen:
            errors.duplicate(place / "key", key)
        seen.add(key)
