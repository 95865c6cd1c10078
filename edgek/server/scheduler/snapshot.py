"""The cluster as the scheduler sees it: nodes with what runs on them, kept current change by change.

A pod counts on its node from the moment it is assumed there, before its binding is acknowledged, so that two pods are never given the same room.
Room that is being made for a pod is promised to it: whoever is no more important leaves it alone.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from edgek.server.scheduler.views import Capacity, Claim, Namespace, Node, Pod, StorageClass, Volume

PODS = "pods"
ONE = 10**9  # one of a resource, in billionths
WEIGHED = ("cpu", "memory")  # the resources by which nodes are compared

T = TypeVar("T")


@attrs.define
class NodeState:
    """A node and the pods on it; ``used`` in billionths. ``silent`` counts those that do not say what they need of a resource that is weighed."""

    node: Node
    pods: dict[str, Pod] = attrs.field(factory=dict)
    used: Counter[str] = attrs.field(factory=Counter)
    ports: Counter[tuple[str, str, int]] = attrs.field(factory=Counter)
    silent: Counter[str] = attrs.field(factory=Counter)
    keeping_off: dict[str, Pod] = attrs.field(factory=dict)

    def add(self, pod: Pod) -> None:
        self.pods[pod.uid] = pod
        if "podAntiAffinity" in pod.affinity:
            self.keeping_off[pod.uid] = pod
        self.used.update(pod.requests)
        self.used[PODS] += ONE
        self.ports.update(pod.ports)
        self.silent.update(_silent_about(pod))

    def with_more(self, pods: Iterable[Pod]) -> NodeState:
        """As if these were there too."""
        other = NodeState(self.node)
        for pod in (*self.pods.values(), *pods):
            other.add(pod)
        return other

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        self.keeping_off.pop(uid, None)
        self.used.subtract(pod.requests)
        self.used[PODS] -= ONE
        self.ports.subtract(pod.ports)
        self.silent.subtract(_silent_about(pod))


def _silent_about(pod: Pod) -> list[str]:
    return [resource for resource in WEIGHED if not pod.requests.get(resource)]


class Snapshot:
    """``claims`` are by ``namespace/name``, volumes, classes and namespaces by name: the informers' own caches.

    ``most_volumes`` is by node, then by driver. ``tracked`` says of a driver whether ``capacities`` speak of it.
    """

    def __init__(
        self,
        claims: Mapping[str, Claim] | None = None,
        volumes: Mapping[str, Volume] | None = None,
        classes: Mapping[str, StorageClass] | None = None,
        namespaces: Mapping[str, Namespace] | None = None,
        most_volumes: Mapping[str, Mapping[str, int]] | None = None,
        tracked: Mapping[str, bool] | None = None,
        capacities: Mapping[str, Capacity] | None = None,
    ) -> None:
        self.nodes: dict[str, NodeState] = {}
        self.claims = {} if claims is None else claims
        self.volumes = {} if volumes is None else volumes
        self.classes = {} if classes is None else classes
        self.namespaces = {} if namespaces is None else namespaces
        self.most_volumes = {} if most_volumes is None else most_volumes
        self.tracked = {} if tracked is None else tracked
        self.capacities = {} if capacities is None else capacities
        self._homes: dict[str, str] = {}  # pod uid -> node name
        self._promised: dict[str, dict[str, Pod]] = {}  # node name -> pods by uid for which room is being made there
        self._homeless: dict[str, dict[str, Pod]] = {}  # node name -> pods bound to a node we have not seen yet
        self._found: dict[Hashable, Any] | None = None  # what rules keep while nothing changes: only in a ``still`` one
        self._instead: tuple[Snapshot, str] | None = None  # the one that this is but for a node, and that node's name

    def set_node(self, node: Node) -> None:
        state = self.nodes.get(node.name)
        if state:
            state.node = node
            return
        state = self.nodes[node.name] = NodeState(node)
        for pod in self._homeless.pop(node.name, {}).values():
            state.add(pod)

    def remove_node(self, name: str) -> None:
        state = self.nodes.pop(name, None)
        if state and state.pods:
            self._homeless[name] = state.pods

    def still(self) -> Snapshot:
        """The same, for one decision about one pod: nothing may change meanwhile, so rules find out once what is the same for all nodes."""
        other = copy.copy(self)
        other._found = {}
        return other

    def with_node(self, state: NodeState) -> Snapshot:
        """As if this node was so, and still."""
        other = self.still()
        other.nodes = {**self.nodes, state.node.name: state}
        other._instead = (self, state.node.name)
        return other

    def once(self, what: Hashable, find: Callable[[], T]) -> T:
        """The answer of ``find``, kept for as long as nothing changes."""
        if self._found is None:
            return find()
        if what not in self._found:
            self._found[what] = find()
        found: T = self._found[what]
        return found

    def of_each(self, what: Hashable, find: Callable[[NodeState], T]) -> Mapping[str, T]:
        """The answer of ``find`` for each node by its name, kept likewise. One node in the place of another costs one answer."""

        def all_of() -> dict[str, T]:
            if self._instead is None:
                return {name: find(state) for name, state in self.nodes.items()}
            same, name = self._instead
            return {**same.of_each(what, find), name: find(self.nodes[name])}

        return self.once(("of each", what), all_of)

    def place(self, pod: Pod, node_name: str) -> None:
        """The pod is on this node, or about to be. May be called again with a newer view of it."""
        self.remove(pod.uid)
        self._homes[pod.uid] = node_name
        state = self.nodes.get(node_name)
        if state:
            state.add(pod)
        else:
            self._homeless.setdefault(node_name, {})[pod.uid] = pod

    def remove(self, uid: str) -> None:
        """The pod is gone, has finished, or was not bound after all."""
        name = self._homes.pop(uid, None)
        if name is None:
            return
        if name in self.nodes:
            self.nodes[name].remove(uid)
        else:
            self._homeless.get(name, {}).pop(uid, None)

    def promise(self, pod: Pod, node_name: str) -> None:
        """Room is being made for this pod on this node, and on no other any more."""
        self.release(pod.uid)
        self._promised.setdefault(node_name, {})[pod.uid] = pod

    def release(self, uid: str) -> str:
        """Nothing is promised to this pod any more; the node where something was."""
        for name, pods in self._promised.items():
            if pods.pop(uid, None) is not None:
                if not pods:
                    del self._promised[name]
                return name
        return ""

    def promised(self, node_name: str, pod: Pod) -> list[Pod]:
        """The others who were promised room there, as far as ``pod`` must leave it to them: it is no more important than they are."""
        pods = self._promised.get(node_name)
        return [each for each in pods.values() if each.uid != pod.uid and each.priority >= pod.priority] if pods else []

    def home(self, uid: str) -> str:
        return self._homes.get(uid, "")

    def claim(self, pod: Pod, name: str) -> Claim | None:
        return self.claims.get(f"{pod.namespace}/{name}")
