"""The RULES table: what a node must offer, and which of those that do is best.

A rule is a pure function of a pod, a node and the snapshot. ``reject`` gives the reason in upstream's words, or nothing; ``refuse`` does so for what
no node can change; ``score`` gives 0 to 100, which counts ``weight`` times. A pod that a rule rejected everywhere is tried again when one of the
rule's ``wakes`` happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from edgek.server.scheduler.rules import (
    balanced,
    fit,
    image_locality,
    least_allocated,
    node_affinity,
    node_name,
    node_ports,
    pod_affinity,
    spread,
    spread_constraints,
    taints,
    unschedulable,
    volume_limits,
    volume_restrictions,
    volumes,
)
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

Wake = Literal["node", "pod gone", "pod placed", "volume", "namespace"]
Refuse = Callable[[Pod, Snapshot], str]
Reject = Callable[[Pod, NodeState, Snapshot], str]
Score = Callable[[Pod, NodeState, Snapshot], float]


@attrs.frozen
class Rule:
    name: str
    reject: Reject | None = None
    score: Score | None = None
    refuse: Refuse | None = None
    weight: int = 1
    wakes: frozenset[Wake] = frozenset({"node"})


RULES: tuple[Rule, ...] = (
    Rule("NodeUnschedulable", unschedulable.reject),
    Rule("NodeName", node_name.reject),
    Rule("TaintToleration", taints.reject, taints.score, weight=3),
    Rule("NodeAffinity", node_affinity.reject, node_affinity.score, weight=2),
    Rule("NodePorts", node_ports.reject, wakes=frozenset({"node", "pod gone"})),
    Rule("NodeResourcesFit", fit.reject, least_allocated.score, wakes=frozenset({"node", "pod gone"})),
    Rule("NodeResourcesBalancedAllocation", score=balanced.score),
    Rule("VolumeRestrictions", volume_restrictions.reject, wakes=frozenset({"pod gone", "volume"})),
    Rule("NodeVolumeLimits", volume_limits.reject, wakes=frozenset({"node", "pod gone", "volume"})),
    Rule("VolumeBinding", volumes.reject, refuse=volumes.refuse, wakes=frozenset({"node", "volume"})),
    Rule("PodTopologySpread", spread_constraints.reject, spread.score, weight=2, wakes=frozenset({"node", "pod gone", "pod placed"})),
    Rule("InterPodAffinity", pod_affinity.reject, pod_affinity.score, weight=2, wakes=frozenset({"node", "pod gone", "pod placed", "namespace"})),
    Rule("ImageLocality", score=image_locality.score),
)
