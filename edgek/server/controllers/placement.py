"""Where a pod of a DaemonSet may run: its selectors and tolerations held against a Node. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgek.model import objects, selectors
from edgek.model.objects import Object

Taint = tuple[str, str, str]  # key, value, effect


@attrs.frozen
class Place:
    """Of a Node, what placing a pod depends on. A heartbeat changes none of it."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]


def place(node: Object) -> Place:
    spec = node.get("spec") or {}
    taints = tuple((each.get("key", ""), each.get("value") or "", each.get("effect", "")) for each in spec.get("taints") or ())
    return Place(objects.name(node), objects.labels(node), taints)


def selects(pod_spec: Mapping[str, Any], where: Place) -> bool:
    """nodeName, nodeSelector and required node affinity."""
    if pod_spec.get("nodeName") not in (None, "", where.name):
        return False
    if not (pod_spec.get("nodeSelector") or {}).items() <= where.labels.items():
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(matches(term, where) for term in required.get("nodeSelectorTerms") or ())


def matches(term: Mapping[str, Any], where: Place) -> bool:
    """A node selector term. One without any requirement matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    names = {"metadata.name": where.name}
    try:
        return (
            bool(expressions or fields)
            and all(selectors.of_expression(each).matches(where.labels) for each in expressions)
            and all(selectors.of_expression(each).matches(names) for each in fields)
        )
    except selectors.SelectorError:
        return False


def untolerated(tolerations: list[Mapping[str, Any]], where: Place) -> set[str]:
    """The effects of taints that none of the tolerations covers."""
    return {taint[2] for taint in where.taints if not any(_tolerates(each, taint) for each in tolerations)}


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    key, value, effect = taint
    if toleration.get("effect") not in (None, "", effect) or toleration.get("key") not in (None, "", key):
        return False
    return toleration.get("operator") == "Exists" or (bool(toleration.get("key")) and (toleration.get("value") or "") == value)
