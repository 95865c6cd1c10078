"""A write under review, over objects given as values."""

from __future__ import annotations

import copy
from typing import Any

from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.server.api.admission.base import Operation, Review
from edgek.server.api.identity import User

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))

There = dict[tuple[Kind, str], dict[str, Any]]


def review(
    kind: Kind,
    obj: dict[str, Any] | None,
    *there: tuple[Kind, dict[str, Any]],
    operation: Operation = "CREATE",
    old: dict[str, Any] | None = None,
    user: User = ADMIN,
    subresource: str = "",
    verb: str = "",
) -> Review:
    """``there`` are the other objects of the cluster. The one under review lies in namespace ``ns`` unless it says otherwise."""
    obj = copy.deepcopy(obj)
    named = obj or old or {}
    namespace = (objects.namespace(named) or "ns") if kind.namespaced else ""
    kept = {(each, objects.namespace(found), objects.name(found)): found for each, found in there}
    return Review(
        user,
        operation,
        kind,
        namespace,
        objects.name(named),
        subresource,
        obj,
        old,
        dry_run=False,
        get=lambda kind, name, namespace: kept.get((kind, namespace if kind.namespaced else "", name)),
        find=lambda kind, namespace: [found for (each, home, _), found in kept.items() if each == kind and namespace in ("", home)],
        verb=verb,
    )


def named(name: str, namespace: str = "", **members: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"metadata": {**meta, **members.pop("metadata", {})}, **members}
