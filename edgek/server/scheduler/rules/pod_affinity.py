"""Pods that want to be near others, or away from them, by the topology of their nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgek.model import selectors
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
Term = Mapping[str, Any]


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    for other in snapshot.keeping_off():
        for term in _terms(other, "podAntiAffinity"):
            if _concerns(term, other, pod, snapshot) and _shares(term, node, _node_of(other, snapshot)):
                return "node(s) didn't satisfy existing pods anti-affinity rules"
    for term in _terms(pod, "podAffinity"):
        found = list(_matching(term, pod, snapshot))
        # The first pod of a group that wants to be near itself must be allowed somewhere.
        if not found and _concerns(term, pod, pod, snapshot) and term["topologyKey"] in node.node.labels:
            continue
        if not any(_shares(term, node, state) for state in found):
            return "node(s) didn't match pod affinity rules"
    for term in _terms(pod, "podAntiAffinity"):
        if any(_shares(term, node, state) for state in _matching(term, pod, snapshot)):
            return "node(s) didn't match pod anti-affinity rules"
    return ""


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    """50 where nothing is preferred; nearer wishes fulfilled raise it, unwanted neighbours lower it."""
    near, away = _preferred(pod, "podAffinity"), _preferred(pod, "podAntiAffinity")
    most = float(sum(item.get("weight", 0) for item in (*near, *away)))
    if not most:
        return 50
    balance = _weight(near, pod, node, snapshot) - _weight(away, pod, node, snapshot)
    return 50 + 50 * balance / most


def _weight(items: Iterable[Mapping[str, Any]], pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    total = 0.0
    for item in items:
        term = item.get("podAffinityTerm") or {}
        if any(_shares(term, node, state) for state in _matching(term, pod, snapshot)):
            total += item.get("weight", 0)
    return total


def _preferred(pod: Pod, member: str) -> tuple[Mapping[str, Any], ...]:
    return tuple((pod.affinity.get(member) or {}).get(PREFERRED) or ())


def _terms(pod: Pod, member: str) -> tuple[Term, ...]:
    return tuple((pod.affinity.get(member) or {}).get(REQUIRED) or ())


def _node_of(pod: Pod, snapshot: Snapshot) -> NodeState:
    return snapshot.nodes[snapshot.home(pod.uid)]


def _concerns(term: Term, owner: Pod, other: Pod, snapshot: Snapshot) -> bool:
    """Does the term of ``owner`` speak of ``other``?"""
    return _in_namespaces(term, owner, other, snapshot) and _selector(term, owner).matches(other.labels)


def _in_namespaces(term: Term, owner: Pod, other: Pod, snapshot: Snapshot) -> bool:
    """The namespaces that are named and those that are selected; without either, the owner's own. An empty selector means all."""
    named, selected = term.get("namespaces") or (), term.get("namespaceSelector")
    if selected is None:
        return other.namespace in (named or (owner.namespace,))
    home = snapshot.namespaces.get(other.namespace)
    return other.namespace in named or not selected or (home is not None and selectors.of_dict(selected).matches(home.labels))


def _selector(term: Term, owner: Pod) -> selectors.LabelSelector:
    """``matchLabelKeys`` and ``mismatchLabelKeys`` stand for what the owner itself has under these labels."""
    selector = term.get("labelSelector")
    pairs = (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
    more = [{"key": k, "operator": word, "values": [owner.labels[k]]} for field, word in pairs for k in term.get(field) or () if k in owner.labels]
    if selector is None or not more:
        return selectors.of_dict(selector)
    return selectors.of_dict({**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]})


def _matching(term: Term, owner: Pod, snapshot: Snapshot) -> Iterator[NodeState]:
    for state in snapshot.nodes.values():
        if any(_concerns(term, owner, other, snapshot) for other in state.pods.values()):
            yield state


def _shares(term: Term, one: NodeState, other: NodeState) -> bool:
    key = term.get("topologyKey", "")
    return key in one.node.labels and one.node.labels.get(key) == other.node.labels.get(key)
