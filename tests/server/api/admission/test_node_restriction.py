"""What a node may write."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden
from edgek.server.api.admission.base import Review
from edgek.server.api.admission.node_restriction import NodeRestriction
from edgek.server.api.authz import Authorizer
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import ADMIN, NODE, named, review

MIRROR = {"annotations": {"kubernetes.io/config.mirror": "x"}}
MINE, THEIRS = named("p", "ns", spec={"nodeName": "n1"}, metadata={"uid": "u1"}), named("p", "ns", spec={"nodeName": "n2"}, metadata={"uid": "u1"})


def node(name: str = "n1", labels: dict[str, str] | None = None, taints: list[Any] | None = None) -> dict[str, Any]:
    return named(name, metadata={"labels": labels or {}}, spec={"taints": taints or []})


def token_for(pod: dict[str, Any], **reference: str) -> Review:
    asked = named("sa", spec={"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1", **reference}})
    return review(kinds.SERVICE_ACCOUNT, asked, (kinds.POD, pod), user=NODE, subresource="token")


def mirror(**spec: Any) -> Review:
    return review(kinds.POD, named("m", metadata=MIRROR, spec={"nodeName": "n1", **spec}), user=NODE)


DOORS: dict[str, dict[str, Any]] = {
    "a claim": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
    "a secret": {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]},
    "a pull secret": {"imagePullSecrets": [{"name": "s"}]},
    "a config map": {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "m"}}]}}]},
    "a device": {"resourceClaims": [{"name": "d", "resourceClaimName": "gpu"}]},
}
CLAIMING = {**MINE, "status": {"resourceClaimStatuses": [{"name": "d", "resourceClaimName": "gpu"}]}}

ALLOWED = {
    "its own node": review(kinds.NODE, node(labels={"kubernetes.io/hostname": "n1", "example.com/rack": "7"}), user=NODE),
    "its own status": review(kinds.NODE, node(), user=NODE, operation="UPDATE", old=node(), subresource="status"),
    "a mirror pod": review(kinds.POD, named("m", metadata=MIRROR, spec={"nodeName": "n1"}), user=NODE),
    "the status of its pod": review(kinds.POD, MINE, user=NODE, operation="UPDATE", old=MINE, subresource="status"),
    "the end of its pod": review(kinds.POD, None, user=NODE, operation="DELETE", old=MINE),
    "a token for its pod": token_for(MINE),
    "its lease": review(kinds.LEASE, named("n1", "kube-node-lease"), user=NODE),
}
REFUSED = {
    "another node": review(kinds.NODE, node("n2"), user=NODE),
    "a label that attracts pods": review(kinds.NODE, node(labels={"node-role.kubernetes.io/control-plane": ""}), user=NODE),
    "a label of restricted nodes": review(kinds.NODE, node(labels={"x.node-restriction.kubernetes.io/a": "b"}), user=NODE),
    "its taints": review(kinds.NODE, node(), user=NODE, operation="UPDATE", old=node(taints=[{"key": "k"}])),
    "a plain pod": review(kinds.POD, named("m", spec={"nodeName": "n1"}), user=NODE),
    **{f"a mirror pod that refers to {what}": mirror(**spec) for what, spec in DOORS.items()},
    "a claim that its pod never had": review(kinds.POD, CLAIMING, user=NODE, operation="UPDATE", old=MINE, subresource="status"),
    "a mirror pod elsewhere": review(kinds.POD, named("m", metadata=MIRROR, spec={"nodeName": "n2"}), user=NODE),
    "the status of a stranger's pod": review(kinds.POD, THEIRS, user=NODE, operation="UPDATE", old=THEIRS, subresource="status"),
    "the end of a stranger's pod": review(kinds.POD, None, user=NODE, operation="DELETE", old=THEIRS),
    "the spec of its pod": review(kinds.POD, MINE, user=NODE, operation="UPDATE", old=MINE),
    "a token for a stranger's pod": token_for(THEIRS),
    "a token for a former pod": token_for(MINE, uid="u0"),
    "a token for nothing": review(kinds.SERVICE_ACCOUNT, named("sa", spec={}), user=NODE, subresource="token"),
    "another's lease": review(kinds.LEASE, named("n2", "kube-node-lease"), user=NODE),
    "a claim's wishes": review(kinds.PERSISTENT_VOLUME_CLAIM, named("c"), user=NODE, operation="UPDATE", old=named("c")),
}  # fmt: skip


@pytest.fixture
async def step() -> NodeRestriction:
    return NodeRestriction(Authorizer(MemoryBackend()))


@pytest.mark.parametrize("what", ALLOWED)
async def test_a_node_writes(step: NodeRestriction, what: str) -> None:
    assert step.handles(ALLOWED[what])
    step.validate(ALLOWED[what])


@pytest.mark.parametrize("what", REFUSED)
async def test_a_node_does_not_write(step: NodeRestriction, what: str) -> None:
    assert step.handles(REFUSED[what])
    with pytest.raises(Forbidden):
        step.validate(REFUSED[what])


async def test_who_is_no_node_is_not_held_to_it(step: NodeRestriction) -> None:
    assert not step.handles(review(kinds.NODE, node("n2"), user=ADMIN))
