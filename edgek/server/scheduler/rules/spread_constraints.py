"""``topologySpreadConstraints`` with DoNotSchedule: no domain may have more than ``maxSkew`` pods above the emptiest one.

Constraints with ScheduleAnyway only prefer; spreading by owner (``spread.py``) stands in for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgek.model import selectors
from edgek.server.scheduler.rules import node_affinity
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    for constraint in pod.spread:
        if constraint.get("whenUnsatisfiable") == "ScheduleAnyway":
            continue
        domain = node.node.labels.get(constraint["topologyKey"])
        if domain is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        counts, alike = _counts(pod, constraint, snapshot)
        fewest = min(counts.values()) if len(counts) >= (constraint.get("minDomains") or 1) else 0
        if counts[domain] + alike - fewest > constraint.get("maxSkew", 1):
            return "node(s) didn't match pod topology spread constraints"
    return ""


def _counts(pod: Pod, constraint: Mapping[str, Any], snapshot: Snapshot) -> tuple[Counter[str], bool]:
    """Matching pods by domain, over the nodes that the pod could use; and whether the pod counts itself."""
    selector = selectors.of_dict(constraint.get("labelSelector"))
    extra = {key: pod.labels[key] for key in constraint.get("matchLabelKeys") or () if key in pod.labels}
    counts: Counter[str] = Counter()
    for state in snapshot.nodes.values():
        domain = state.node.labels.get(constraint["topologyKey"])
        if domain is None or node_affinity.reject(pod, state, snapshot):
            continue
        counts[domain] += sum(
            other.namespace == pod.namespace
            and not other.deleting
            and selector.matches(other.labels)
            and all(other.labels.get(key) == value for key, value in extra.items())
            for other in state.pods.values()
        )
    return counts, selector.matches(pod.labels)
