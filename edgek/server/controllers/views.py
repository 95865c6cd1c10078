"""What controllers keep of an object: small frozen values for Pods and Nodes, the whole object for kinds that are few.

A view is made at the door of an informer and shared by every controller, so nobody may change one. ``whole`` objects are dicts: copy before
changing.
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any

import attrs

from edgek.host import wallclock
from edgek.model import objects, requests, when_away
from edgek.model.alike import shared, shared_map
from edgek.model.objects import Object
from edgek.model.when_away import WhenAway

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"

FINISHED = frozenset({"Succeeded", "Failed"})


def whole(obj: Object) -> Object:
    """The object itself, for kinds of which there are few."""
    return obj


def node(obj: Object) -> Object:
    """Of a Node what those need who look after nodes, without what it offers and the images that it has: a fifth of the memory."""
    meta = objects.metadata(obj)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {name: meta[name] for name in ("name", "uid", "resourceVersion", "deletionTimestamp") if name in meta},
        "spec": obj.get("spec") or {},
        "status": {"conditions": (obj.get("status") or {}).get("conditions") or []},
    }


@attrs.frozen
class OwnerView:
    api_version: str
    kind: str
    name: str
    uid: str
    blocks: bool  # blockOwnerDeletion


@attrs.frozen
class MetaView:
    """Of an object of any kind, what deletion and ownership depend on."""

    namespace: str
    name: str
    uid: str
    owners: tuple[OwnerView, ...]
    finalizers: tuple[str, ...]
    deleting: bool


def meta(obj: Object) -> MetaView:
    owners = tuple(
        OwnerView(each.get("apiVersion", ""), each.get("kind", ""), each.get("name", ""), each.get("uid", ""), bool(each.get("blockOwnerDeletion")))
        for each in objects.owners(obj)
    )
    return MetaView(
        namespace=intern(objects.namespace(obj)),
        name=intern(objects.name(obj)),
        uid=intern(objects.uid(obj)),
        owners=shared(owners),
        finalizers=shared(tuple(objects.finalizers(obj))),
        deleting=objects.is_deleting(obj),
    )


@attrs.frozen
class ContainerPort:
    name: str
    port: int
    protocol: str


@attrs.frozen
class Toleration:
    """Of a NoExecute taint. ``seconds`` None: for ever."""

    key: str
    exists: bool
    value: str
    seconds: float | None

    def covers(self, key: str, value: str) -> bool:
        return (not self.key or self.key == key) and (self.exists or self.value == value)


@attrs.frozen
class PodView:
    """One Pod as controllers see it. Times are seconds since the epoch, 0 for never.

    What a node stamped (``ready_since``, ``finished_at``) is never later than when we saw it: a node whose clock is ahead must hold nothing up.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    finalizers: tuple[str, ...]
    owner_kind: str
    owner_name: str
    owner_uid: str
    created: float
    deleting_at: float
    node: str
    target_node: str  # the node it is bound to, or the only one that its affinity allows
    phase: str
    reason: str
    ready: bool
    ready_since: float
    scheduled: bool
    disrupted: bool  # condition DisruptionTarget
    restarts: int
    ips: tuple[str, ...]
    host_network: bool
    hostname: str
    subdomain: str
    ports: tuple[ContainerPort, ...]
    claims: tuple[str, ...]
    own_claims: tuple[str, ...]  # of these, the ones made for its ephemeral volumes
    deletion_cost: int
    completion_index: int
    index_failures: int
    finished_at: float
    exit_codes: tuple[tuple[str, int], ...]  # of containers that ended, by container
    conditions: tuple[tuple[str, str], ...]
    tolerations: tuple[Toleration, ...]
    grace_s: float
    when_away: WhenAway | None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED

    @property
    def deleting(self) -> bool:
        return self.deleting_at > 0

    @property
    def active(self) -> bool:
        """It counts as a replica: neither finished nor on its way out."""
        return not self.finished and not self.deleting

    def available_in(self, min_ready_s: float, now: float) -> float | None:
        """Seconds until it has been ready long enough, 0 when it has; None when it is not ready."""
        if not self.ready:
            return None
        return max(0.0, min(min_ready_s, self.ready_since + min_ready_s - now))  # our own clock may have been set back

    def reference(self) -> Object:
        """As much of the Pod as an Event needs to name it."""
        return {"metadata": {"name": self.name, "namespace": self.namespace, "uid": self.uid}}


def pod(obj: Object) -> PodView:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    owner = objects.controller_of(obj) or {}
    conditions = {each["type"]: each for each in status.get("conditions") or () if each.get("type")}
    ready = conditions.get("Ready") or {}
    containers = status.get("containerStatuses") or ()
    first = status.get("initContainerStatuses") or ()
    ended = [(each.get("name", ""), (each.get("state") or {}).get("terminated")) for each in (*first, *containers)]
    now = wallclock.now()
    return PodView(
        namespace=intern(objects.namespace(obj)),
        name=intern(objects.name(obj)),
        uid=intern(objects.uid(obj)),
        labels=shared_map(objects.labels(obj)),
        finalizers=tuple(objects.finalizers(obj)),
        owner_kind=intern(owner.get("kind", "")),
        owner_name=intern(owner.get("name", "")),
        owner_uid=intern(owner.get("uid", "")),
        created=stamp(objects.metadata(obj).get("creationTimestamp")),
        deleting_at=stamp(objects.metadata(obj).get("deletionTimestamp")),
        node=intern(spec.get("nodeName") or ""),
        target_node=intern(spec.get("nodeName") or _only_node(spec)),
        phase=intern(status.get("phase") or "Pending"),
        reason=status.get("reason") or "",
        ready=ready.get("status") == "True",
        ready_since=min(now, stamp(ready.get("lastTransitionTime"))),
        scheduled=bool(spec.get("nodeName")),
        disrupted=(conditions.get("DisruptionTarget") or {}).get("status") == "True",
        restarts=sum(each.get("restartCount") or 0 for each in containers),
        ips=tuple(each["ip"] for each in status.get("podIPs") or () if each.get("ip")) or tuple(filter(None, (status.get("podIP"),))),
        host_network=bool(spec.get("hostNetwork")),
        hostname=spec.get("hostname") or "",
        subdomain=spec.get("subdomain") or "",
        ports=shared(_ports(spec)),
        claims=requests.claims(objects.name(obj), spec),
        own_claims=requests.own_claims(objects.name(obj), spec),
        deletion_cost=_number(objects.annotations(obj).get(DELETION_COST), 0),
        completion_index=_number(objects.annotations(obj).get(COMPLETION_INDEX), -1),
        index_failures=_number(objects.annotations(obj).get(INDEX_FAILURES), 0),
        finished_at=min(now, max((stamp(how.get("finishedAt")) for _, how in ended if how), default=0.0)),
        exit_codes=tuple((name, how.get("exitCode", 0)) for name, how in ended if how),
        conditions=shared(tuple((type_, each.get("status", "")) for type_, each in conditions.items())),
        tolerations=_tolerations(spec),
        grace_s=float(30 if (grace := spec.get("terminationGracePeriodSeconds")) is None else max(0, grace)),
        when_away=when_away.of(objects.annotations(obj)),
    )


def stamp(text: Any) -> float:
    """Seconds since the epoch of an API time, 0 for none."""
    return wallclock.parse(text) if text else 0.0


def owner_index(view: PodView) -> tuple[str, ...]:
    """The uid of a pod's controller; for a pod without one, ``orphan/`` and its namespace."""
    return (view.owner_uid or f"orphan/{view.namespace}",)


def job_index(view: PodView) -> tuple[str, ...]:
    """The key of the Job that the pod's owner reference names, whatever its uid."""
    return (f"{view.namespace}/{view.owner_name}",) if view.owner_kind == "Job" else ()


def namespace_index(view: PodView) -> tuple[str, ...]:
    return (view.namespace,)


def finished_index(view: PodView) -> tuple[str, ...]:
    return ("finished",) if view.finished else ()


def node_index(view: PodView) -> tuple[str, ...]:
    return (view.node,)


def _only_node(spec: Object) -> str:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(field.get("values") or ()) == 1:
                return str(field["values"][0])
    return ""


def _ports(spec: Object) -> tuple[ContainerPort, ...]:
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return tuple(
        ContainerPort(port["name"], port["containerPort"], port.get("protocol", "TCP"))
        for container in (*(spec.get("containers") or ()), *sidecars)
        for port in container.get("ports") or ()
        if port.get("name")
    )


def _tolerations(spec: Object) -> tuple[Toleration, ...]:
    found = tuple(
        Toleration(each.get("key") or "", each.get("operator") == "Exists", each.get("value") or "", each.get("tolerationSeconds"))
        for each in spec.get("tolerations") or ()
        if each.get("effect") in (None, "", "NoExecute")
    )
    return shared(found)


def _number(text: Any, otherwise: int) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return otherwise
