"""What the scheduler keeps of an object: small frozen values made at the door of its informers."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any

import attrs

from edgek.model import objects, placement, requests, selectors
from edgek.model.alike import shared, shared_map
from edgek.model.local_storage import driver_of
from edgek.model.objects import Object
from edgek.model.placement import Taint, Toleration

DEFAULT_SCHEDULER = "default-scheduler"
WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


@attrs.frozen
class Pod:
    """``requests`` are billionths by resource name; ``node`` is empty until it is bound."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    node: str
    requests: Mapping[str, int]
    ports: frozenset[tuple[str, str, int]]
    node_selector: Mapping[str, str]
    affinity: Mapping[str, Any]
    spread: tuple[Mapping[str, Any], ...]
    tolerations: tuple[Toleration, ...]
    priority: int
    preempts: bool  # less important pods may be deleted for it
    owner_uid: str
    claims: tuple[str, ...]
    own_claims: tuple[str, ...]  # those of them that are made for it
    images: tuple[str, ...]
    created: str  # as the API writes it, which sorts by time
    gated: bool
    finished: bool
    deleting: bool
    scheduler: str
    scheduled_message: str  # of a PodScheduled condition that is False
    nominated: str  # the node on which room is being made for it

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def waits(self) -> bool:
        """It is ours to place."""
        return not (self.node or self.finished or self.deleting) and self.scheduler == DEFAULT_SCHEDULER

    def reference(self) -> Object:
        """Enough of the object to record an Event about it."""
        return {"metadata": {"namespace": self.namespace, "name": self.name, "uid": self.uid}}


def pod(obj: Object) -> Pod:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    scheduled = objects.condition(obj, "PodScheduled") or {}
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    return Pod(
        namespace=intern(objects.namespace(obj)),
        name=intern(objects.name(obj)),
        uid=intern(objects.uid(obj)),
        labels=shared_map(objects.labels(obj)),
        node=intern(spec.get("nodeName") or ""),
        requests=shared_map(requests.of_pod(spec)),
        ports=shared(requests.host_ports(spec)),
        node_selector=shared_map(spec.get("nodeSelector") or {}),
        affinity=spec.get("affinity") or {},
        spread=tuple(spec.get("topologySpreadConstraints") or ()),
        tolerations=shared(placement.tolerations(spec.get("tolerations"))),
        priority=int(spec.get("priority") or 0),
        preempts=spec.get("preemptionPolicy") != "Never",
        owner_uid=intern((objects.controller_of(obj) or {}).get("uid", "")),
        claims=requests.claims(objects.name(obj), spec),
        own_claims=requests.own_claims(objects.name(obj), spec),
        images=shared(tuple(c.get("image") or "" for c in containers)),
        created=intern(str(objects.metadata(obj).get("creationTimestamp") or "")),
        gated=bool(spec.get("schedulingGates")),
        finished=status.get("phase") in ("Succeeded", "Failed"),
        deleting=objects.is_deleting(obj),
        scheduler=intern(spec.get("schedulerName") or DEFAULT_SCHEDULER),
        scheduled_message=str(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
        nominated=intern(str(status.get("nominatedNodeName") or "")),
    )


@attrs.frozen
class Node:
    """``allocatable`` in billionths; ``images`` maps every name of an image to its size in bytes."""

    name: str
    labels: Mapping[str, str]
    unschedulable: bool
    taints: tuple[Taint, ...]
    allocatable: Mapping[str, int]
    images: Mapping[str, int]


def node(obj: Object) -> Node:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    sizes = {name: int(image.get("sizeBytes") or 0) for image in status.get("images") or () for name in image.get("names") or ()}
    return Node(
        name=objects.name(obj),
        labels=objects.labels(obj),
        unschedulable=bool(spec.get("unschedulable")),
        taints=placement.taints(spec),
        allocatable=requests.parsed(status.get("allocatable") or status.get("capacity")),
        images=sizes,
    )


@attrs.frozen
class Namespace:
    """Pods may want company, or none, from namespaces with certain labels."""

    name: str
    labels: Mapping[str, str]


def namespace(obj: Object) -> Namespace:
    return Namespace(objects.name(obj), objects.labels(obj))


@attrs.frozen
class Claim:
    """``size`` in billionths of a byte."""

    namespace: str
    name: str
    volume: str
    bound: bool
    storage_class: str
    selected_node: str
    deleting: bool
    size: int
    modes: frozenset[str]
    volume_mode: str
    selector: Mapping[str, Any] | None
    source: str = ""  # the claim that its volume is to begin as a copy of

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


SELECTED_NODE = "volume.kubernetes.io/selected-node"


def claim(obj: Object) -> Claim:
    spec = obj.get("spec") or {}
    asked = (spec.get("resources") or {}).get("requests") or {}
    return Claim(
        namespace=objects.namespace(obj),
        name=objects.name(obj),
        volume=spec.get("volumeName") or "",
        bound=bool(spec.get("volumeName")) and (obj.get("status") or {}).get("phase") == "Bound",
        storage_class=_storage_class(obj),
        selected_node=objects.annotations(obj).get(SELECTED_NODE, ""),
        deleting=objects.is_deleting(obj),
        size=requests.parsed(asked).get("storage", 0),
        modes=frozenset(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        selector=spec.get("selector"),
        source=_source(spec),
    )


def _source(spec: Mapping[str, Any]) -> str:
    said = spec.get("dataSourceRef") or spec.get("dataSource") or {}
    return str(said.get("name") or "") if said.get("kind") == "PersistentVolumeClaim" and not said.get("apiGroup") else ""


@attrs.frozen
class Volume:
    """``node_terms`` are the node selector terms of a PersistentVolume's required node affinity; empty: any node.

    ``driver`` and ``handle`` are those of a CSI volume.
    """

    name: str
    labels: Mapping[str, str]
    node_terms: tuple[Mapping[str, Any], ...]
    storage_class: str
    claim: str  # namespace/name it is bound to or held for
    available: bool
    size: int
    modes: frozenset[str]
    volume_mode: str
    driver: str = ""
    handle: str = ""
    released: bool = False  # the claim that it names is gone: one of the same name is another


def volume(obj: Object) -> Volume:
    spec = obj.get("spec") or {}
    held, csi = spec.get("claimRef") or {}, spec.get("csi") or {}
    phase = (obj.get("status") or {}).get("phase")
    return Volume(
        name=objects.name(obj),
        labels=objects.labels(obj),
        node_terms=tuple(((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()),
        storage_class=_storage_class(obj),
        claim=f"{held.get('namespace', '')}/{held.get('name', '')}" if held else "",
        available=phase == "Available" and not objects.is_deleting(obj),
        size=requests.parsed(spec.get("capacity")).get("storage", 0),
        modes=frozenset(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        driver=csi.get("driver") or "",
        handle=csi.get("volumeHandle") or "",
        released=phase in ("Released", "Failed") or objects.is_deleting(obj),
    )


def _storage_class(obj: Object) -> str:
    """Of a claim or a volume; the annotation is how it was said before there was a field."""
    said = objects.annotations(obj).get("volume.beta.kubernetes.io/storage-class")
    return str(said or (obj.get("spec") or {}).get("storageClassName") or "")


@attrs.frozen
class StorageClass:
    name: str
    waits: bool  # WaitForFirstConsumer
    provisions: bool = True  # volumes can be made
    driver: str = ""
    topologies: tuple[Mapping[str, Any], ...] = ()  # allowedTopologies; none: everywhere


def storage_class(obj: Object) -> StorageClass:
    waits = obj.get("volumeBindingMode") == WAIT_FOR_FIRST_CONSUMER
    provisioner = str(obj.get("provisioner") or "")
    driver = driver_of(provisioner) or provisioner
    return StorageClass(objects.name(obj), waits, provisioner != NO_PROVISIONER, driver, tuple(obj.get("allowedTopologies") or ()))


def most_volumes(obj: Object) -> Mapping[str, int]:
    """Of a CSINode: how many volumes of a driver the node can have, by driver; drivers without a limit are left out."""
    drivers = (obj.get("spec") or {}).get("drivers") or ()
    return {each["name"]: int(limit) for each in drivers if (limit := (each.get("allocatable") or {}).get("count")) is not None}


def tracks_capacity(obj: Object) -> bool:
    """Of a CSIDriver: whether CSIStorageCapacity objects say where its volumes can be made."""
    return bool((obj.get("spec") or {}).get("storageCapacity"))


@attrs.frozen
class Capacity:
    """A CSIStorageCapacity: volumes of a class up to ``size`` can be made on ``nodes``. ``size`` in billionths of a byte; -1: nothing is known."""

    storage_class: str
    size: int
    nodes: selectors.LabelSelector


def capacity(obj: Object) -> Capacity:
    largest = obj.get("maximumVolumeSize") or obj.get("capacity")
    nodes = selectors.of_dict_or_nothing(obj.get("nodeTopology"))
    return Capacity(str(obj.get("storageClassName") or ""), requests.parsed({"storage": largest})["storage"] if largest else -1, nodes)
