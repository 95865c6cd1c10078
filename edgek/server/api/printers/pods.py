"""Pods and their templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.api.printers import cells
from edgek.server.api.printers.cells import NONE, spec, status

NODE_LOST = "NodeLost"
SCHEDULING_GATED = "SchedulingGated"


@attrs.define
class _Tally:
    """What looking through the container statuses adds up to."""

    reason: str
    total: int
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""
    sidecar_restarts: int = 0
    last_sidecar_restart: str = ""
    initialising: bool = False


def pod(obj: Object, now: datetime) -> list[Any]:
    tally = _tally(obj)
    restarts = str(tally.restarts)
    if tally.restarts and tally.last_restart:
        restarts += f" ({cells.since(tally.last_restart, now)} ago)"
    ips = status(obj).get("podIPs") or [{"ip": status(obj).get("podIP", "")}]
    return [
        cells.name(obj),
        f"{tally.ready}/{tally.total}",
        _over(obj, tally.reason),
        restarts,
        cells.age(obj, now),
        ips[0].get("ip") or NONE,
        spec(obj).get("nodeName") or NONE,
        status(obj).get("nominatedNodeName") or NONE,
        _readiness_gates(obj),
    ]


def pod_conditions(obj: Object) -> list[dict[str, str]]:
    """A row says that its pod is over."""
    phase = status(obj).get("phase")
    if phase == "Succeeded":
        return [{"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."}]
    if phase == "Failed":
        return [{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}]
    return []


def pod_template(obj: Object, now: datetime) -> list[Any]:
    template = obj.get("template") or {}
    return [cells.name(obj), *cells.containers(template.get("spec")), cells.labels((template.get("metadata") or {}).get("labels"))]


def _tally(obj: Object) -> _Tally:
    seen = status(obj)
    inits = {container.get("name"): container for container in spec(obj).get("initContainers") or ()}
    sidecars = {name for name, container in inits.items() if container.get("restartPolicy") == "Always"}
    tally = _Tally(seen.get("reason") or seen.get("phase") or "", len(spec(obj).get("containers") or ()) + len(sidecars))
    scheduled = objects.condition(obj, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == SCHEDULING_GATED:
        tally.reason = SCHEDULING_GATED
    _add_init_containers(tally, seen.get("initContainerStatuses") or (), sidecars, len(inits))
    if not tally.initialising or cells.has_condition(obj, "Initialized"):
        tally.restarts, tally.last_restart = tally.sidecar_restarts, tally.last_sidecar_restart
        running = _add_containers(tally, seen.get("containerStatuses") or ())
        if tally.reason == "Completed" and running:
            tally.reason = "Running" if cells.has_condition(obj, "Ready") else "NotReady"
    return tally


def _add_init_containers(tally: _Tally, statuses: Sequence[Mapping[str, Any]], sidecars: set[Any], count: int) -> None:
    for index, seen in enumerate(statuses):
        is_sidecar = seen.get("name") in sidecars
        tally.restarts += seen.get("restartCount", 0)
        tally.last_restart = max(tally.last_restart, _finished(seen))
        if is_sidecar:
            tally.sidecar_restarts += seen.get("restartCount", 0)
            tally.last_sidecar_restart = max(tally.last_sidecar_restart, _finished(seen))
        state = seen.get("state") or {}
        terminated = state.get("terminated")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if is_sidecar and seen.get("started"):
            tally.ready += bool(seen.get("ready"))
            continue
        waiting = (state.get("waiting") or {}).get("reason")
        if terminated is not None:
            tally.reason = f"Init:{_ended(terminated)}"
        elif waiting and waiting != "PodInitializing":
            tally.reason = f"Init:{waiting}"
        else:
            tally.reason = f"Init:{index}/{count}"
        tally.initialising = True
        return


def _add_containers(tally: _Tally, statuses: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of them is ready and running. The first container has the last word."""
    running = False
    for seen in reversed(statuses):
        tally.restarts += seen.get("restartCount", 0)
        tally.last_restart = max(tally.last_restart, _finished(seen))
        state = seen.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting:
            tally.reason = waiting
        elif state.get("terminated") is not None:
            tally.reason = _ended(state["terminated"])
        elif seen.get("ready") and state.get("running") is not None:
            running = True
            tally.ready += 1
    return running


def _ended(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _finished(seen: Mapping[str, Any]) -> str:
    """When it ended last; canonical times sort as texts."""
    return ((seen.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""


def _over(obj: Object, reason: str) -> str:
    if not objects.is_deleting(obj):
        return reason
    if status(obj).get("reason") == NODE_LOST:
        return "Unknown"
    return reason if status(obj).get("phase") in ("Succeeded", "Failed") else "Terminating"


def _readiness_gates(obj: Object) -> str:
    gates = spec(obj).get("readinessGates") or ()
    passed = sum(cells.has_condition(obj, gate.get("conditionType", "")) for gate in gates)
    return f"{passed}/{len(gates)}" if gates else NONE
