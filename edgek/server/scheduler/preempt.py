"""Which pods must go so that a more important one fits: pure, given the snapshot and the rules.

Budgets are not looked at here: like upstream, a more important pod goes before them in the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from edgek.server.scheduler.choose import rejected
from edgek.server.scheduler.rules import RULES, Rule
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod


@attrs.frozen
class Preemption:
    """``victims`` are to be deleted; there are none where those who must go are going already."""

    node: str
    victims: tuple[Pod, ...]


def preempt(pod: Pod, snapshot: Snapshot, rules: Sequence[Rule] = RULES) -> Preemption | None:
    """The node on which least is lost; None where no less important pod is in the way."""
    if not pod.preempts or any(rule.refuse(pod, snapshot) for rule in rules if rule.refuse):
        return None
    snapshot = snapshot.still()
    found = [each for state in snapshot.nodes.values() if (each := _on(state, pod, snapshot, rules)) is not None]
    return min(found, key=_loss, default=None)


def _loss(preemption: Preemption) -> tuple[int, int, int, str]:
    """The most important victim counts first, then all together."""
    priorities = [victim.priority for victim in preemption.victims]
    return max(priorities, default=-(2**31)), sum(priority + 2**31 for priority in priorities), len(priorities), preemption.node


def _on(state: NodeState, pod: Pod, snapshot: Snapshot, rules: Sequence[Rule]) -> Preemption | None:
    lesser = [other for other in state.pods.values() if other.priority < pod.priority]
    if not lesser:
        return None
    kept = [other for other in state.pods.values() if other.priority >= pod.priority]
    kept += snapshot.promised(state.node.name, pod)

    def fits(others: Sequence[Pod]) -> bool:
        trial = NodeState(state.node).with_more(others)
        return not rejected(pod, trial, snapshot.with_node(trial), rules)[0]

    if not fits(kept):
        return None
    victims = []
    # Whoever can stay stays: the more important first, and those who are going anyway last.
    for other in sorted(lesser, key=lambda each: (each.deleting, -each.priority, each.created, each.name)):
        if fits([*kept, other]):
            kept.append(other)
        else:
            victims.append(other)
    return Preemption(state.node.name, tuple(victim for victim in victims if not victim.deleting))
