"""``nodeSelector`` and node affinity: required terms reject, preferred ones score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.model import selectors
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Node, Pod


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    affinity = pod.affinity.get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    labels = node.node.labels
    chosen = all(labels.get(key) == value for key, value in pod.node_selector.items())
    if chosen and (required is None or any(matches(term, node.node) for term in required.get("nodeSelectorTerms") or ())):
        return ""
    return "node(s) didn't match Pod's node affinity/selector"


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    affinity = pod.affinity.get("nodeAffinity") or {}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    most = sum(max(item.get("weight", 0), 0) for item in preferred)
    reached = sum(item.get("weight", 0) for item in preferred if matches(item.get("preference") or {}, node.node))
    return 100 * reached / most if most else 0


def matches(term: Mapping[str, Any], node: Node) -> bool:
    """A node selector term: all its expressions on labels and on ``metadata.name``. One without any matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    names = {"metadata.name": node.name}
    return all(selectors.of_expression(e).matches(node.labels) for e in expressions) and all(
        selectors.of_expression(f).matches(names) for f in fields
    )
