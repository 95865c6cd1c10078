"""Of a Node, what placing depends on, and the rules of ``model/placement.py`` held against that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgek.model import objects
from edgek.model import placement as rules
from edgek.model.objects import Object
from edgek.model.placement import Taint


@attrs.frozen
class Place:
    """A heartbeat changes none of it."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]


def place(node: Object) -> Place:
    return Place(objects.name(node), objects.labels(node), rules.taints(node.get("spec") or {}))


def selects(pod_spec: Mapping[str, Any], where: Place) -> bool:
    """nodeName, nodeSelector and required node affinity."""
    return pod_spec.get("nodeName") in (None, "", where.name) and rules.selects(pod_spec, where.name, where.labels)


def matches(term: Mapping[str, Any], where: Place) -> bool:
    """A node selector term."""
    return rules.matches(term, where.name, where.labels)


def untolerated(tolerations: list[Mapping[str, Any]], where: Place) -> set[str]:
    """The effects of taints that none of the tolerations covers."""
    return {taint.effect for taint in rules.untolerated(where.taints, rules.tolerations(tolerations))}
