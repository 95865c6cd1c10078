"""Which pods of a DaemonSet to make and delete, node by node, also amid an update. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.controllers import history, placement, rollout, statuses
from edgek.server.controllers.placement import Place
from edgek.server.controllers.views import PodView

# A DaemonSet's pods stay on a node that is in trouble: they are often what looks after it.
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
NETWORK_UNAVAILABLE = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@attrs.define
class Plan:
    create: list[str] = attrs.field(factory=list)  # names of nodes
    delete: list[PodView] = attrs.field(factory=list)
    failed: list[PodView] = attrs.field(factory=list)  # of those to delete


@attrs.frozen
class Scene:
    """A DaemonSet and what is seen of its pods. ``pods`` by node; ``hash`` is that of the present template."""

    daemon_set: Object
    nodes: Mapping[str, Place]
    pods: Mapping[str, Sequence[PodView]]
    hash: str
    now: float

    def wanted_on(self, node: str) -> tuple[bool, bool]:
        """(a pod should be started there, one that runs there may go on)"""
        where = self.nodes[node]
        spec = self.daemon_set["spec"]["template"].get("spec") or {}
        if not placement.selects(spec, where):
            return False, False
        effects = placement.untolerated(tolerations(spec), where)
        return not effects & {"NoSchedule", "NoExecute"}, "NoExecute" not in effects

    def is_new(self, pod: PodView) -> bool:
        return pod.labels.get(history.HASH) == self.hash

    def is_available(self, pod: PodView) -> bool:
        return pod.available_in(self.daemon_set["spec"].get("minReadySeconds") or 0, self.now) == 0.0


def tolerations(pod_spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of the template, and those that every pod of a DaemonSet has."""
    found = list(pod_spec.get("tolerations") or ())
    extra = (*TOLERATED, NETWORK_UNAVAILABLE) if pod_spec.get("hostNetwork") else TOLERATED
    for key, effect in extra:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in found:
            found.append(toleration)
    return found


def limits(daemon_set: Object, desired: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods, never both 0."""
    rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = rollout.scaled(rolling.get("maxSurge") or 0, desired, up=True)
    unavailable = rollout.scaled(rolling.get("maxUnavailable", 1), desired, up=True)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def placing(scene: Scene) -> Plan:
    """One pod on every node that should have one, none elsewhere."""
    plan = Plan()
    surges = _strategy(scene) == "RollingUpdate" and limits(scene.daemon_set, desired(scene))[0] > 0
    for node in scene.nodes:
        _place_on(scene, node, plan, surges=surges)
    for node, pods in scene.pods.items():
        if node and node not in scene.nodes:
            plan.delete.extend(pod for pod in pods if not pod.deleting)
    return plan


def updating(scene: Scene) -> Plan:
    """Old pods that may go now, and with surge, nodes that may get a second pod."""
    plan = Plan()
    if _strategy(scene) != "RollingUpdate":
        return plan
    surge, unavailable = limits(scene.daemon_set, desired(scene))
    if surge:
        _surge(scene, surge, plan)
    else:
        _replace(scene, unavailable, plan)
    return plan


def desired(scene: Scene) -> int:
    return sum(1 for node in scene.nodes if scene.wanted_on(node)[0])


def status(scene: Scene) -> dict[str, Any]:
    counts = dict.fromkeys(("desired", "current", "misscheduled", "ready", "updated", "available"), 0)
    for node in scene.nodes:
        pods = [pod for pod in scene.pods.get(node, ()) if not pod.deleting and not pod.finished] or list(scene.pods.get(node, ()))
        if not scene.wanted_on(node)[0]:
            counts["misscheduled"] += bool(pods)
            continue
        counts["desired"] += 1
        if not pods:
            continue
        counts["current"] += 1
        pods.sort(key=lambda pod: (not pod.ready, pod.created))
        counts["ready"] += pods[0].ready
        counts["available"] += scene.is_available(pods[0])
        counts["updated"] += any(scene.is_new(pod) for pod in pods)
    before = scene.daemon_set.get("status") or {}
    made = {
        "currentNumberScheduled": counts["current"],
        "numberMisscheduled": counts["misscheduled"],
        "desiredNumberScheduled": counts["desired"],
        "numberReady": counts["ready"],
        "observedGeneration": objects.metadata(scene.daemon_set).get("generation"),
        "updatedNumberScheduled": counts["updated"],
        "numberAvailable": counts["available"],
        "numberUnavailable": counts["desired"] - counts["available"],
        "collisionCount": before.get("collisionCount"),
        "conditions": before.get("conditions"),
    }
    return statuses.compact(made, ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"))


def _strategy(scene: Scene) -> str:
    return str((scene.daemon_set["spec"].get("updateStrategy") or {}).get("type") or "RollingUpdate")


def _place_on(scene: Scene, node: str, plan: Plan, *, surges: bool) -> None:
    start, go_on = scene.wanted_on(node)
    pods = list(scene.pods.get(node, ()))
    if not go_on:
        plan.delete.extend(pod for pod in pods if not pod.deleting)
        return
    ended = [pod for pod in pods if pod.finished and not pod.deleting]
    plan.delete.extend(ended)
    plan.failed.extend(pod for pod in ended if pod.phase == "Failed")
    running = sorted((pod for pod in pods if pod.active), key=lambda pod: (not pod.node, not pod.ready, pod.created, pod.name))
    if start and not pods:
        plan.create.append(node)
    old = [pod for pod in running if not scene.is_new(pod)]
    new = [pod for pod in running if scene.is_new(pod)]
    if surges and old and new:
        plan.delete.extend([*old[1:], *new[1:]])
    else:
        plan.delete.extend(running[1:])


def _pair(scene: Scene, node: str) -> tuple[PodView | None, PodView | None]:
    """The old and the new pod of a node, of those that were not asked to go."""
    active = [pod for pod in scene.pods.get(node, ()) if pod.active]
    old = next((pod for pod in active if not scene.is_new(pod)), None)
    new = next((pod for pod in active if scene.is_new(pod)), None)
    return old, new


def _replace(scene: Scene, most_unavailable: int, plan: Plan) -> None:
    """Delete old pods; ``placing`` puts new ones in their place."""
    unavailable, candidates = 0, []
    for node in scene.nodes:
        if not scene.wanted_on(node)[0]:
            continue
        old, new = _pair(scene, node)
        if old is not None and new is None:
            if scene.is_available(old):
                candidates.append(old)
                continue
            plan.delete.append(old)  # it serves nobody: no loss
        elif new is not None and scene.is_available(new):
            continue
        unavailable += 1
    plan.delete.extend(candidates[: max(0, most_unavailable - unavailable)])


def _surge(scene: Scene, most_surge: int, plan: Plan) -> None:
    """Put a new pod beside an old one; the old one goes once the new one is available."""
    surging, candidates = 0, []
    for node in scene.nodes:
        start, _ = scene.wanted_on(node)
        old, new = _pair(scene, node)
        if not start or old is None:
            continue
        if new is not None:
            if scene.is_available(new) or not scene.is_available(old):
                plan.delete.append(old)
            else:
                surging += 1
        elif scene.is_available(old):
            candidates.append(node)
        else:
            plan.create.append(node)
    plan.create.extend(candidates[: max(0, most_surge - surging)])
