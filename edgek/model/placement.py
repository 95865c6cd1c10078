"""Where a pod may run by its own word: node selectors and required node affinity, and the taints that it tolerates.

The scheduler asks before it binds, the kubelet when it is given a pod, a DaemonSet for each node. https://kubernetes.io/docs/concepts/scheduling-eviction/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from edgek.model import selectors


@attrs.frozen
class Taint:
    key: str
    value: str
    effect: str


@attrs.frozen
class Toleration:
    """``operator`` is Exists or Equal; an empty key with Exists tolerates everything, an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


def taints(node_spec: Mapping[str, Any]) -> tuple[Taint, ...]:
    return tuple(Taint(each.get("key") or "", each.get("value") or "", each.get("effect") or "") for each in node_spec.get("taints") or ())


def tolerations(listed: Iterable[Mapping[str, Any]] | None) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(each.get("key") or "", each.get("operator") or "Equal", each.get("value") or "", each.get("effect") or "") for each in listed or ()
    )


def untolerated(there: Iterable[Taint], tolerated: Iterable[Toleration]) -> list[Taint]:
    """The taints that none of the tolerations covers, in their order."""
    known = tuple(tolerated)
    return [taint for taint in there if not any(each.tolerates(taint) for each in known)]


def selects(pod_spec: Mapping[str, Any], node: str, labels: Mapping[str, str]) -> bool:
    """Whether ``nodeSelector`` and required node affinity allow the node of this name with these labels."""
    if any(labels.get(key) != value for key, value in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    return affinity_selects(pod_spec.get("affinity") or {}, node, labels)


def affinity_selects(affinity: Mapping[str, Any], node: str, labels: Mapping[str, str]) -> bool:
    """The required half of node affinity alone: any of its terms must fit, where there is such a half."""
    required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(matches(term, node, labels) for term in required.get("nodeSelectorTerms") or ())


def matches(term: Mapping[str, Any], node: str, labels: Mapping[str, str]) -> bool:
    """A node selector term: all its expressions on labels and on ``metadata.name``. One without any, or that is no selector, matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    try:
        return (
            bool(expressions or fields)
            and all(selectors.of_expression(each).matches(labels) for each in expressions)
            and all(_names(each, node) for each in fields)
        )
    except selectors.SelectorError:
        return False


def _names(field: Mapping[str, Any], node: str) -> bool:
    """A requirement on ``metadata.name``, the only field there is. A node's name may be longer than any label's value, so it is none."""
    if field.get("key") != "metadata.name" or field.get("operator") not in ("In", "NotIn"):
        return False
    is_named = node in (field.get("values") or ())
    return is_named if field["operator"] == "In" else not is_named
