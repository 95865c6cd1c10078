"""What the API shows of a pod: its phase, conditions and container statuses, from what the runtime shows.

Pure. ``status`` is given the pod as the API has it (for times that must not change and conditions of others), and gives the whole status back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edgek.agent.kubelet.actions import Wait
from edgek.agent.kubelet.lifecycle import (
    Circumstances,
    Health,
    Member,
    Seen,
    failed_initialising,
    initialised,
    is_host_network,
    members,
    resize_pending,
    restart_count,
    restart_policy,
)
from edgek.agent.kubelet.resources import qos_class
from edgek.agent.runtime.runtime import ContainerStatus
from edgek.model import objects
from edgek.model.objects import Object

RESIZE_PENDING, RESIZE_IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", RESIZE_PENDING, RESIZE_IN_PROGRESS)
STATUS_KEYS = {"init": "initContainerStatuses", "sidecar": "initContainerStatuses", "regular": "containerStatuses"}
UNKNOWN_MESSAGE = "The container could not be located when the pod was terminated"


def status(pod: Object, seen: Seen, around: Circumstances, waits: Sequence[Wait], host_ips: Sequence[str], *, over: bool = False) -> Object:
    """The pod's status now. ``over``: nothing of it will run any more, so what has not ended has ended unseen."""
    reasons = {wait.name: wait for wait in waits if wait.reason}
    found: Object = {key: value for key, value in (pod.get("status") or {}).items() if key in ("nominatedNodeName", "resourceClaimStatuses")}
    groups: dict[str, list[Object]] = {}
    refused = around.verdict is not None and not seen.sandboxes and not (pod.get("status") or {}).get("containerStatuses")
    for member in () if refused else members(pod):
        key = STATUS_KEYS.get(member.group, "ephemeralContainerStatuses")
        groups.setdefault(key, []).append(_container_status(pod, member, seen, around, reasons, over=over))
    found.update(groups)
    found["phase"] = _phase(pod, seen, around, found, over=over)
    if around.verdict:
        found["reason"], found["message"] = around.verdict.reason, around.verdict.message
    elif (pod.get("status") or {}).get("phase") == "Failed":
        found.update({key: value for key, value in pod["status"].items() if key in ("reason", "message")})
    found["qosClass"] = (pod.get("status") or {}).get("qosClass") or qos_class(pod)
    found["startTime"] = (pod.get("status") or {}).get("startTime") or _time(around.now)
    found["hostIP"], found["hostIPs"] = host_ips[0], [{"ip": ip} for ip in host_ips]
    ips = _ips(pod, seen, host_ips)
    if ips:
        found["podIP"], found["podIPs"] = ips[0], [{"ip": ip} for ip in ips]
    generation = (pod.get("metadata") or {}).get("generation")
    if generation:
        found["observedGeneration"] = generation
    found["conditions"] = _conditions(pod, seen, around, found)
    return found


def _phase(pod: Object, seen: Seen, around: Circumstances, found: Object, *, over: bool) -> str:
    before = (pod.get("status") or {}).get("phase") or "Pending"
    if around.verdict:
        return "Failed"
    if before in ("Succeeded", "Failed"):
        return str(before)
    states = found.get("containerStatuses") or []
    running = sum("running" in s["state"] for s in states)
    stopped = [s for s in states if "terminated" in s["state"] or ("waiting" in s["state"] and s["lastState"])]
    waiting = len(states) - running - len(stopped)
    succeeded = sum(s["state"].get("terminated", {}).get("exitCode") == 0 for s in stopped)
    if over:
        return "Succeeded" if succeeded == len(states) and not failed_initialising(pod, seen) else "Failed"
    if failed_initialising(pod, seen):
        return "Failed"
    if waiting and (not running or not initialised(pod, seen)):
        return "Pending"
    if waiting:
        return "Pending" if before == "Pending" else "Running"
    if running or not stopped:
        return "Running" if running else "Pending"
    return _phase_of_stopped(pod, stopped, succeeded)


def _phase_of_stopped(pod: Object, stopped: Sequence[Object], succeeded: int) -> str:
    specs = {str(c["name"]): c for c in (pod.get("spec") or {}).get("containers") or ()}
    for shown in stopped:
        policy = specs[shown["name"]].get("restartPolicy") or restart_policy(pod)
        ended = shown["state"].get("terminated")
        if ended is None or policy == "Always" or (policy == "OnFailure" and ended["exitCode"] != 0):
            return "Running"
    return "Succeeded" if succeeded == len(stopped) else "Failed"


def _ips(pod: Object, seen: Seen, host_ips: Sequence[str]) -> Sequence[str]:
    if is_host_network(pod):
        return host_ips if seen.sandboxes else ()
    if seen.sandbox is not None:
        return seen.sandbox.ips
    return [entry["ip"] for entry in (pod.get("status") or {}).get("podIPs") or ()] if seen.sandboxes else ()


def _container_status(pod: Object, member: Member, seen: Seen, around: Circumstances, reasons: Mapping[str, Wait], *, over: bool) -> Object:
    history = seen.of_name(member.name)
    latest = history[0] if history else None
    before = _known(pod, member)
    found: Object = {"name": member.name, "state": {}, "lastState": {}, "ready": False, "restartCount": restart_count(latest)}
    found |= {"image": latest.image if latest else member.spec.get("image", ""), "imageID": latest.image_id if latest else ""}
    if latest:
        found["containerID"] = container_id(latest.id)
    ended = [c for c in history if c.state == "exited"]
    if latest and latest.state == "running":
        found["state"] = {"running": {"startedAt": _time(latest.started_at)}}
        if ended:
            found["lastState"] = {"terminated": _terminated(ended[0])}
    elif latest and latest.state == "exited" and member.name not in reasons:
        found["state"] = {"terminated": _terminated(latest)}
        if len(ended) > 1:
            found["lastState"] = {"terminated": _terminated(ended[1])}
    else:
        found["state"] = _waiting(pod, member, seen, reasons, before, over=over)
        if ended:
            found["lastState"] = {"terminated": _terminated(ended[0])}
    if not latest and before:
        found["restartCount"] = before.get("restartCount", 0)
        found["lastState"] = before.get("lastState") or {}
    health = around.health.get(latest.id, Health()) if latest else Health()
    up = "running" in found["state"]
    found["started"] = up and health.started
    found["ready"] = _ready(member, found, up=up, health=health)
    found |= _resources(member, latest, around)
    return found


def _ready(member: Member, found: Object, *, up: bool, health: Health) -> bool:
    if member.group == "init":
        return bool(found["state"].get("terminated", {}).get("exitCode") == 0)
    return up and health.started and health.ready


def _known(pod: Object, member: Member) -> Object:
    for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for shown in (pod.get("status") or {}).get(key) or ():
            if shown["name"] == member.name:
                return dict(shown)
    return {}


def _waiting(pod: Object, member: Member, seen: Seen, reasons: Mapping[str, Wait], before: Object, *, over: bool) -> Object:
    if over and before.get("state", {}).get("terminated"):
        return dict(before["state"])
    if over:
        return {
            "terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": UNKNOWN_MESSAGE, "startedAt": None, "finishedAt": None}
        }
    if member.name in reasons:
        wait = reasons[member.name]
        return {"waiting": {"reason": wait.reason, **({"message": wait.message} if wait.message else {})}}
    first = any(m.group == "init" for m in members(pod))
    pending = member.group in ("init", "sidecar") or not initialised(pod, seen)
    return {"waiting": {"reason": "PodInitializing" if first and pending else "ContainerCreating"}}


def _terminated(container: ContainerStatus) -> Object:
    found: Object = {
        "exitCode": container.exit_code,
        "reason": container.reason or ("Completed" if container.exit_code == 0 else "Error"),
        "startedAt": _time(container.started_at) if container.started_at else None,
        "finishedAt": _time(container.finished_at) if container.finished_at else None,
        "containerID": container_id(container.id),
    }
    return {**found, "message": container.message} if container.message else found


def _resources(member: Member, latest: ContainerStatus | None, around: Circumstances) -> Object:
    found: Object = {}
    asked = (around.applied.get(latest.id) if latest else None) or member.spec.get("resources") or {}
    if latest and latest.state == "running" and asked:
        found["resources"] = asked
        if asked.get("requests"):
            found["allocatedResources"] = asked["requests"]
    mounts = [_volume_mount(mount) for mount in member.spec.get("volumeMounts") or ()]
    return {**found, "volumeMounts": mounts} if mounts else found


def _volume_mount(mount: Object) -> Object:
    found = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        found |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return found


def container_id(identity: str) -> str:
    return f"containerd://{identity}"


def _conditions(pod: Object, seen: Seen, around: Circumstances, found: Object) -> list[Object]:
    ready = _containers_ready(pod, found)
    wanted = [
        ("PodReadyToStartContainers", (seen.sandbox is not None and bool(found.get("podIP") or is_host_network(pod)), "", "")),
        ("Initialized", _initialized(pod, seen, found)),
        ("Ready", _pod_ready(pod, found, ready)),
        ("ContainersReady", ready),
        ("PodScheduled", (True, "", "")),
    ]
    if around.verdict and around.verdict.reason == "Evicted":
        wanted.append(("DisruptionTarget", (True, "TerminationByKubelet", around.verdict.message)))
    wanted += _resizing(pod, seen, around)
    before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    generation = (pod.get("metadata") or {}).get("generation")
    ours = [_condition(type_, *value, before.get(type_), around.now, generation) for type_, value in wanted]
    said = {c["type"] for c in ours} | set(OURS)
    return [*ours, *(c for type_, c in before.items() if type_ not in said)]


def _resizing(pod: Object, seen: Seen, around: Circumstances) -> list[tuple[str, tuple[bool, str, str]]]:
    """Conditions of a change of resources that is under way or does not fit; they go when it is done."""
    pending = [m.name for m in members(pod) if (found := seen.current(m.name)) and resize_pending(m, found.id, around)]
    if around.unfit:
        return [(RESIZE_PENDING, (True, around.unfit.reason, around.unfit.message))] if pending else []
    trouble = next((around.troubles[name] for name in pending if name in around.troubles), None)
    if trouble:
        return [(RESIZE_IN_PROGRESS, (True, trouble.reason, trouble.message))]
    return [(RESIZE_IN_PROGRESS, (True, "", ""))] if pending else []


def _condition(type_: str, value: bool, reason: str, message: str, before: Object | None, now: float, generation: int | None) -> Object:
    word = "True" if value else "False"
    found: Object = {"type": type_, "status": word, "lastProbeTime": None}
    found["lastTransitionTime"] = before["lastTransitionTime"] if before and before["status"] == word else _time(now)
    if generation:
        found["observedGeneration"] = generation
    return {**found, **{key: text for key, text in (("reason", reason), ("message", message)) if text}}


def _initialized(pod: Object, seen: Seen, found: Object) -> tuple[bool, str, str]:
    if found["phase"] == "Succeeded":
        return True, "PodCompleted", ""
    shown = {s["name"]: s for s in found.get("initContainerStatuses") or ()}
    started = any(seen.current(m.name) for m in members(pod) if m.group == "regular") or any(
        "running" in s["state"] for s in found.get("containerStatuses") or ()
    )
    missing = []
    for member in members(pod):
        if member.name not in shown:
            continue
        if member.group == "init" and not started and not shown[member.name]["ready"]:
            missing.append(member.name)
        if member.group == "sidecar" and not started and not shown[member.name]["started"]:
            missing.append(member.name)
    if missing:
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(missing)}]"
    return True, "", ""


def _containers_ready(pod: Object, found: Object) -> tuple[bool, str, str]:
    if found["phase"] == "Succeeded":
        return False, "PodCompleted", ""
    if found["phase"] == "Failed":
        return False, "PodFailed", ""
    sidecars = {m.name for m in members(pod) if m.group == "sidecar"}
    shown = [s for s in found.get("initContainerStatuses") or () if s["name"] in sidecars] + (found.get("containerStatuses") or [])
    unready = [s["name"] for s in shown if not s["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _pod_ready(pod: Object, found: Object, containers: tuple[bool, str, str]) -> tuple[bool, str, str]:
    if not containers[0]:
        return containers
    messages = []
    for gate in (pod.get("spec") or {}).get("readinessGates") or ():
        condition = objects.condition(pod, gate["conditionType"])
        if condition is None:
            messages.append(f'corresponding condition of pod readiness gate "{gate["conditionType"]}" does not exist.')
        elif condition["status"] != "True":
            messages.append(f'the status of pod readiness gate "{gate["conditionType"]}" is not "True", but {condition["status"]}')
    if messages:
        return False, "ReadinessGatesNotReady", ", ".join(messages)
    return True, "", ""


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether writing one status over the other would change anything but absent against empty."""
    return bool(_bare(one) == _bare(other))


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _bare(inner) for key, inner in value.items() if inner not in (None, "", {}, [])}
    if isinstance(value, list):
        return [_bare(inner) for inner in value]
    return value
