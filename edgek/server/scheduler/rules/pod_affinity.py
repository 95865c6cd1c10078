"""Pods that want to be near others, or away from them, by the topology of their nodes.

Who is where is found out once for a pod, in one walk over all pods; a node is then asked for its labels only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgek.model import selectors
from edgek.server.scheduler.snapshot import NodeState, Snapshot
from edgek.server.scheduler.views import Pod

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
Term = Mapping[str, Any]


@attrs.frozen
class Company:
    """Those of whom a term of the pod speaks: the values that the term's topology key has on their nodes. ``anybody``: there are such pods."""

    key: str
    values: frozenset[str]
    anybody: bool
    weight: float = 0

    def has(self, node: NodeState) -> bool:
        return node.node.labels.get(self.key) in self.values


def reject(pod: Pod, node: NodeState, snapshot: Snapshot) -> str:
    labels = node.node.labels
    closed = snapshot.once("those who keep off", lambda: _closed(pod, snapshot))
    if any(labels.get(key) in values for key, values in closed.items()):
        return "node(s) didn't satisfy existing pods anti-affinity rules"
    for term, near in zip(_terms(pod, "podAffinity"), _company(pod, "podAffinity", snapshot), strict=True):
        # The first pod of a group that wants to be near itself must be allowed somewhere.
        if not near.anybody and near.key in labels and _concerns(term, _selector(term, pod), pod, pod, snapshot):
            continue
        if not near.has(node):
            return "node(s) didn't match pod affinity rules"
    if any(away.has(node) for away in _company(pod, "podAntiAffinity", snapshot)):
        return "node(s) didn't match pod anti-affinity rules"
    return ""


def score(pod: Pod, node: NodeState, snapshot: Snapshot) -> float:
    """50 where nothing is preferred; nearer wishes fulfilled raise it, unwanted neighbours lower it."""
    near, away = _wishes(pod, "podAffinity", snapshot), _wishes(pod, "podAntiAffinity", snapshot)
    most = sum(wish.weight for wish in (*near, *away))
    if not most:
        return 50
    balance = sum(wish.weight for wish in near if wish.has(node)) - sum(wish.weight for wish in away if wish.has(node))
    return 50 + 50 * balance / most


def _closed(pod: Pod, snapshot: Snapshot) -> Mapping[str, set[str]]:
    """By topology key the values where pods are that want this one away from them."""
    found: dict[str, set[str]] = {}
    for there in snapshot.of_each("those who keep off", lambda state: _closed_by(state, pod, snapshot)).values():
        for key, value in there:
            found.setdefault(key, set()).add(value)
    return found


def _closed_by(state: NodeState, pod: Pod, snapshot: Snapshot) -> set[tuple[str, str]]:
    labels = state.node.labels
    return {
        (key, labels[key])
        for other in state.keeping_off.values()
        for term in _terms(other, "podAntiAffinity")
        if (key := term.get("topologyKey", "")) in labels and _concerns(term, _selector(term, other), other, pod, snapshot)
    }


def _company(pod: Pod, member: str, snapshot: Snapshot) -> tuple[Company, ...]:
    """For each required term in its order."""
    terms = _terms(pod, member)
    return snapshot.once((REQUIRED, member), lambda: tuple(_found((REQUIRED, member, at), term, pod, snapshot) for at, term in enumerate(terms)))


def _wishes(pod: Pod, member: str, snapshot: Snapshot) -> tuple[Company, ...]:
    items = (pod.affinity.get(member) or {}).get(PREFERRED) or ()

    def find() -> tuple[Company, ...]:
        return tuple(
            _found((PREFERRED, member, at), item.get("podAffinityTerm") or {}, pod, snapshot, item.get("weight", 0)) for at, item in enumerate(items)
        )

    return snapshot.once((PREFERRED, member), find) if items else ()


def _terms(pod: Pod, member: str) -> tuple[Term, ...]:
    return tuple((pod.affinity.get(member) or {}).get(REQUIRED) or ())


def _found(which: tuple[str, str, int], term: Term, pod: Pod, snapshot: Snapshot, weight: float = 0) -> Company:
    """Of the term that is ``which`` among the pod's."""
    key, selector = term.get("topologyKey", ""), _selector(term, pod)

    def is_there(state: NodeState) -> bool:
        return any(_concerns(term, selector, pod, other, snapshot) for other in state.pods.values())

    names = [name for name, there in snapshot.of_each(which, is_there).items() if there]
    labels = [snapshot.nodes[name].node.labels for name in names]
    return Company(key, frozenset(each[key] for each in labels if key in each), bool(names), weight)


def _concerns(term: Term, selector: selectors.LabelSelector, owner: Pod, other: Pod, snapshot: Snapshot) -> bool:
    """Does the term of ``owner``, with its ``selector``, speak of ``other``?"""
    return selector.matches(other.labels) and _in_namespaces(term, owner, other, snapshot)


def _in_namespaces(term: Term, owner: Pod, other: Pod, snapshot: Snapshot) -> bool:
    """The namespaces that are named and those that are selected; without either, the owner's own. An empty selector means all."""
    named, selected = term.get("namespaces") or (), term.get("namespaceSelector")
    if selected is None:
        return other.namespace in (named or (owner.namespace,))
    home = snapshot.namespaces.get(other.namespace)
    return other.namespace in named or not selected or (home is not None and selectors.of_dict_or_nothing(selected).matches(home.labels))


def _selector(term: Term, owner: Pod) -> selectors.LabelSelector:
    """``matchLabelKeys`` and ``mismatchLabelKeys`` stand for what the owner itself has under these labels."""
    selector = term.get("labelSelector")
    pairs = (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
    more = [{"key": k, "operator": word, "values": [owner.labels[k]]} for field, word in pairs for k in term.get(field) or () if k in owner.labels]
    if selector is None or not more:
        return selectors.of_dict_or_nothing(selector)
    return selectors.of_dict_or_nothing({**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]})
