"""Storage: volumes, claims, classes, drivers; and devices, which are claimed alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.api.printers import cells
from edgek.server.api.printers.cells import UNSET, spec, status

_ACCESS_MODES = (("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP"))
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_ANNOTATIONS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def persistent_volume(obj: Object, now: datetime) -> list[Any]:
    wanted, seen = spec(obj), status(obj)
    claim = wanted.get("claimRef")
    return [
        cells.name(obj),
        (wanted.get("capacity") or {}).get("storage", "0"),
        _modes(wanted.get("accessModes") or ()),
        wanted.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(obj),
        wanted.get("volumeAttributesClassName") or UNSET,
        seen.get("reason", ""),
        cells.age(obj, now),
        wanted.get("volumeMode") or UNSET,
    ]


def persistent_volume_claim(obj: Object, now: datetime) -> list[Any]:
    wanted, seen = spec(obj), status(obj)
    volume = wanted.get("volumeName", "")
    return [
        cells.name(obj),
        _phase(obj),
        volume,
        (seen.get("capacity") or {}).get("storage", "0") if volume else "",
        _modes(seen.get("accessModes") or ()) if volume else "",
        _class(obj),
        wanted.get("volumeAttributesClassName") or UNSET,
        cells.age(obj, now),
        wanted.get("volumeMode") or UNSET,
    ]


def _modes(modes: Sequence[str]) -> str:
    return ",".join(short for mode, short in _ACCESS_MODES if mode in modes)


def _phase(obj: Object) -> str:
    return "Terminating" if objects.is_deleting(obj) else str(status(obj).get("phase", ""))


def _class(obj: Object) -> str:
    return objects.annotations(obj).get(_CLASS_ANNOTATION) or str(spec(obj).get("storageClassName") or "")


def storage_class(obj: Object, now: datetime) -> list[Any]:
    is_default = any(objects.annotations(obj).get(annotation) == "true" for annotation in _DEFAULT_ANNOTATIONS)
    return [
        cells.name(obj) + (" (default)" if is_default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        cells.age(obj, now),
    ]


def volume_attachment(obj: Object, now: datetime) -> list[Any]:
    volume = (spec(obj).get("source") or {}).get("persistentVolumeName") or ""
    where = [spec(obj).get("attacher", ""), volume, spec(obj).get("nodeName", "")]
    return [cells.name(obj), *where, bool(status(obj).get("attached")), cells.age(obj, now)]


def volume_attributes_class(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), obj.get("driverName", ""), cells.age(obj, now)]


def csi_driver(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    tokens = wanted.get("tokenRequests")
    return [
        cells.name(obj),
        bool(wanted.get("attachRequired", True)),
        bool(wanted.get("podInfoOnMount")),
        bool(wanted.get("storageCapacity")),
        ",".join(token.get("audience", "") for token in tokens) if tokens else UNSET,
        bool(wanted.get("requiresRepublish")),
        ",".join(wanted.get("volumeLifecycleModes") or ()) or UNSET,
        cells.age(obj, now),
    ]


def csi_node(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), len(spec(obj).get("drivers") or ()), cells.age(obj, now)]


def resource_claim(obj: Object, now: datetime) -> list[Any]:
    seen = status(obj)
    states = ["deleted"] if objects.is_deleting(obj) else []
    if seen.get("allocation"):
        states += ["allocated", "reserved"] if seen.get("reservedFor") else ["allocated"]
    elif not states:
        states.append("pending")
    return [cells.name(obj), ",".join(states), cells.age(obj, now)]


def resource_slice(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    where = [wanted.get("nodeName") or UNSET, wanted.get("driver", ""), (wanted.get("pool") or {}).get("name", "")]
    return [cells.name(obj), *where, cells.age(obj, now)]
