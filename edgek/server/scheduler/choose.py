"""Choose a node for one pod: pure, given the snapshot and the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from edgek.server.scheduler.rules import RULES, Rule
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


@attrs.frozen
class Placed:
    node: str


@attrs.frozen
class Refused:
    """``message`` in upstream's form; ``rules`` are those that rejected some node."""

    message: str
    rules: frozenset[str]


def choose(pod: Pod, snapshot: Snapshot, rules: Sequence[Rule] = RULES) -> Placed | Refused:
    """The best of the nodes that no rule rejects; among equals the one with fewest pods, then by name, so that it can be foretold."""
    snapshot = snapshot.still()
    for rule in rules:
        reason = rule.refuse(pod, snapshot) if rule.refuse and snapshot.nodes else ""
        if reason:
            return Refused(f"0/{len(snapshot.nodes)} nodes are available: {reason}.", frozenset({rule.name}))
    fitting: list[NodeState] = []
    reasons: Counter[str] = Counter()
    blamed: set[str] = set()
    for state in snapshot.nodes.values():
        blame, reason = rejected(pod, state, snapshot, rules)
        if not blame and (others := snapshot.promised(state.node.name, pod)):
            crowded = state.with_more(others)
            blame, reason = rejected(pod, crowded, snapshot.with_node(crowded), rules)
        if blame:
            blamed.add(blame)
            reasons.update(reason.split(", "))
        else:
            fitting.append(state)
    if not fitting:
        return Refused(_message(len(snapshot.nodes), reasons), frozenset(blamed))
    scored = [rule for rule in rules if rule.score]
    best = min(fitting, key=lambda state: (-_total(pod, state, snapshot, scored), len(state.pods), state.node.name))
    return Placed(best.node.name)


def rejected(pod: Pod, state: NodeState, snapshot: Snapshot, rules: Sequence[Rule]) -> tuple[str, str]:
    """The first rule that keeps the pod from this node, and its reason; empty when none does."""
    for rule in rules:
        reason = rule.reject(pod, state, snapshot) if rule.reject else ""
        if reason:
            return rule.name, reason
    return "", ""


def _total(pod: Pod, state: NodeState, snapshot: Snapshot, rules: Sequence[Rule]) -> float:
    return round(sum(rule.weight * rule.score(pod, state, snapshot) for rule in rules if rule.score), 6)


def _message(nodes: int, reasons: Counter[str]) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{nodes} nodes are available: {listed}."
