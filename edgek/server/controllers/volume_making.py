"""The PersistentVolume for a claim, when its class names one of edgek's own drivers. Pure.

It says the driver's id of the volume before there is one: with edgek's own drivers an id follows from what the volume is to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgek.model import objects
from edgek.model.local_storage import FINALIZER, HOSTPATH, MAKE, NFS, NODE_LABEL, PROVISIONED_BY, Making, size_bytes
from edgek.model.objects import Object
from edgek.server.controllers.placement import Place
from edgek.server.controllers.volumeprotection import VOLUME_FINALIZER

HOSTNAME = "kubernetes.io/hostname"
OF_SIDECARS = "csi.storage.k8s.io/"  # begins the parameters of a class that are not the driver's
FS_TYPE = "csi.storage.k8s.io/fstype"
ACCESS_MODES: Mapping[str, frozenset[str]] = {
    HOSTPATH: frozenset({"ReadWriteOnce", "ReadWriteOncePod"}),
    NFS: frozenset({"ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany"}),
}


class CannotMake(Exception):
    """As the claim and its class are. The message is for the user."""


@attrs.frozen
class Copied:
    """The volume that a new one begins as a copy of."""

    driver: str
    handle: str
    bytes: int
    keeper: str


def name_for(claim: Object) -> str:
    """Never used twice, so a late call for a former volume cannot meet another."""
    return f"pvc-{objects.uid(claim)}"


def check(driver: str, claim: Object) -> None:
    """Raises CannotMake."""
    spec = claim["spec"]
    lacking = sorted(set(spec.get("accessModes") or ()) - ACCESS_MODES[driver])
    if lacking:
        raise CannotMake(f"{driver} has not the access mode {', '.join(lacking)}, it has {', '.join(sorted(ACCESS_MODES[driver]))}")
    if spec.get("volumeMode") == "Block":
        raise CannotMake(f"{driver} has no block volumes: volumeMode must be Filesystem")
    if spec.get("selector"):
        raise CannotMake("claim Selector is not supported")


def check_copy(driver: str, claim: Object, source: Copied) -> None:
    """Raises CannotMake."""
    if source.driver != driver:
        raise CannotMake(f"the source PVC is of driver {source.driver or 'none'}, a volume of {driver} cannot be a copy of it")
    if size_bytes(size_of(claim)) < source.bytes:
        wanted = size_bytes(size_of(claim))
        raise CannotMake(
            f"new PVC request must be greater than or equal in size to the specified PVC data source, requested {wanted} but source is {source.bytes}"
        )


def size_of(claim: Object) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


def volume(driver: str, claim: Object, storage_class: Object, keeper: Place, source: Copied | None) -> Object:
    """What the API is to hold before the driver makes anything. Raises CannotMake."""
    name = name_for(claim)
    given: Mapping[str, str] = storage_class.get("parameters") or {}
    parameters = {key: value for key, value in given.items() if not key.startswith(OF_SIDECARS)}
    parameters |= {
        "csi.storage.k8s.io/pv/name": name,
        "csi.storage.k8s.io/pvc/name": objects.name(claim),
        "csi.storage.k8s.io/pvc/namespace": objects.namespace(claim),
    }
    options = list(storage_class.get("mountOptions") or ())
    csi = _source(driver, name, parameters, options)
    if given.get(FS_TYPE):
        csi["fsType"] = given[FS_TYPE]
    spec: dict[str, Any] = {
        "capacity": {"storage": size_of(claim)},
        "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": objects.name(storage_class),
        "volumeMode": "Filesystem",
        "claimRef": _reference(claim),
        "csi": csi,
    }
    if options:
        spec["mountOptions"] = options
    if driver == HOSTPATH:
        here = {"key": HOSTNAME, "operator": "In", "values": [keeper.labels.get(HOSTNAME, keeper.name)]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    making = Making(parameters, source.handle if source else "")
    meta = {
        "name": name,
        "labels": {NODE_LABEL: keeper.name},
        "annotations": {PROVISIONED_BY: driver, MAKE: making.as_text()},
        "finalizers": [VOLUME_FINALIZER, FINALIZER],
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec}


def _source(driver: str, name: str, parameters: Mapping[str, str], options: list[str]) -> dict[str, Any]:
    """Raises CannotMake."""
    if driver == HOSTPATH:
        return {"driver": driver, "volumeHandle": name}
    from edgek.csi import driver as drivers  # not before somebody uses such a class
    from edgek.csi import export as exports

    try:
        asked = exports.read_class(parameters, None, options)
    except drivers.BadRequest as problem:
        raise CannotMake(str(problem)) from None
    place = {"server": asked.export.server, "share": asked.export.share, "subDir": asked.folder or name}
    return {"driver": driver, "volumeHandle": asked.export.id_of(name), "volumeAttributes": place}


def _reference(claim: Object) -> dict[str, str]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": objects.namespace(claim),
        "name": objects.name(claim),
        "uid": objects.uid(claim),
        "resourceVersion": objects.revision(claim),
    }
