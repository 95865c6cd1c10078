"""``topologySpreadConstraints`` with DoNotSchedule: no domain may have more than ``maxSkew`` pods above the emptiest one.

Constraints with ScheduleAnyway only prefer; spreading by owner (``spread.py``) stands in for them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgek.model import selectors
from edgek.server.scheduler.rules import node_affinity
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

Constraint = Mapping[str, Any]


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    for index, constraint in enumerate(pod.spread):
        if constraint.get("whenUnsatisfiable") == "ScheduleAnyway":
            continue
        domain = node.node.labels.get(constraint["topologyKey"])
        if domain is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        counts, most = snapshot.once(("spread", index), functools.partial(_spread, pod, index, snapshot))
        if counts[domain] > most:
            return "node(s) didn't match pod topology spread constraints"
    return ""


def _spread(pod: Pod, index: int, snapshot: Snapshot) -> tuple[Counter[str], int]:
    """Matching pods by domain, over the nodes that the pod could use; and how many a domain that takes the pod may have before."""
    constraint = pod.spread[index]
    selector = _selector(pod, constraint)

    def count(state: NodeState) -> int | None:
        if constraint["topologyKey"] not in state.node.labels or node_affinity.reject(pod, state, snapshot):
            return None
        return sum(other.namespace == pod.namespace and not other.deleting and selector.matches(other.labels) for other in state.pods.values())

    counts: Counter[str] = Counter()
    for name, found in snapshot.of_each(("spread", index), count).items():
        if found is not None:
            counts[snapshot.nodes[name].node.labels[constraint["topologyKey"]]] += found
    fewest = min(counts.values()) if len(counts) >= (constraint.get("minDomains") or 1) else 0
    return counts, fewest + int(constraint.get("maxSkew", 1)) - selector.matches(pod.labels)


def _selector(pod: Pod, constraint: Constraint) -> selectors.LabelSelector:
    """``matchLabelKeys`` stand for what the pod itself has under these labels."""
    selector = selectors.of_dict_or_nothing(constraint.get("labelSelector"))
    own = selectors.of_labels({key: pod.labels[key] for key in constraint.get("matchLabelKeys") or () if key in pod.labels})
    return selector if selector.nothing else selectors.LabelSelector((*selector.requirements, *own.requirements))
