"""Which taints a Node must carry for the state it is in. Pure."""

from __future__ import annotations

from typing import Any

from edgek.model import objects
from edgek.model.conditions import NETWORK_UNAVAILABLE, PEERS_UNREACHABLE
from edgek.model.objects import Object
from edgek.model.when_away import NOT_READY, UNREACHABLE

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    NETWORK_UNAVAILABLE: "node.kubernetes.io/network-unavailable",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURES.values()})

Taint = dict[str, Any]
Mark = tuple[str, str]  # key and effect


def wanted(node: Object, *, evicts: bool) -> set[Mark]:
    """``evicts`` is false while no node at all is ready: then it is rather us who are cut off."""
    marks = {
        (taint, "NoSchedule") for condition, taint in PRESSURES.items() if objects.condition_is(node, condition) and not _works_alone(node, condition)
    }
    if (node.get("spec") or {}).get("unschedulable"):
        marks.add((UNSCHEDULABLE, "NoSchedule"))
    ready = objects.condition(node, "Ready") or {}
    state = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready.get("status", ""), "")
    if state:
        marks.add((state, "NoSchedule"))
        if evicts:
            marks.add((state, "NoExecute"))
    elif not ready:
        marks.add((NOT_READY, "NoSchedule"))
    return marks


def _works_alone(node: Object, condition: str) -> bool:
    """A node that reaches no other node's pods is as good as ever for pods that need none of them, which at the edge are most: no taint for that.

    By other reasons (somebody else's pod network is not set up yet) the condition is upstream's, and so is the taint.
    """
    found = objects.condition(node, condition) or {}
    return condition == NETWORK_UNAVAILABLE and found.get("reason") == PEERS_UNREACHABLE


def changed(node: Object, marks: set[Mark], now: str) -> list[Taint] | None:
    """The node's taints with ours as they must be and all others as they are; None where they are right."""
    taints: list[Taint] = (node.get("spec") or {}).get("taints") or []
    kept = [each for each in taints if not _is_ours(each) or _mark(each) in marks]
    missing = sorted(marks - {_mark(each) for each in kept})
    if len(kept) == len(taints) and not missing:
        return None
    return [*kept, *({"key": key, "effect": effect, "timeAdded": now} for key, effect in missing)]


def no_execute(node: Object) -> list[Taint]:
    return [each for each in (node.get("spec") or {}).get("taints") or () if each.get("effect") == "NoExecute"]


def _mark(taint: Taint) -> Mark:
    return taint.get("key", ""), taint.get("effect", "")


def _is_ours(taint: Taint) -> bool:
    """Of not-ready and unreachable both effects are ours, of the others NoSchedule."""
    key, effect = _mark(taint)
    return key in OURS and (effect == "NoSchedule" or (effect == "NoExecute" and key in (NOT_READY, UNREACHABLE)))
