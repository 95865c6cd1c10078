"""NodeRestriction: a node writes only its own Node, Lease and CSINode, the status of its own pods, and asks tokens only for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgek.model import kinds, node_labels, objects, references
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused
from edgek.server.api.node_access import node_name

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
# What a node may read once a pod of its refers to it: a pod that it makes itself must not open that door.
OF_OTHERS = ("secrets", "configmaps", "persistentvolumeclaims", "resourceclaims")


class NodeRestriction(Step):
    name = "NodeRestriction"

    def handles(self, review: Review) -> bool:
        return review.kind in _RULES and bool(node_name(review.user))

    def validate(self, review: Review) -> None:
        _RULES[review.kind](review, node_name(review.user))


def _pod(review: Review, node: str) -> None:
    if review.subresource == "" and review.operation == "CREATE":
        _mirror_pod(review, node)
    elif review.subresource == "" and review.operation == "DELETE":
        _own_pod(review, node, "delete")
    elif review.subresource == "status":
        _own_pod(review, node, "update status for")
        if objects.labels(review.obj or {}) != objects.labels(review.old or {}):
            raise refused(review, f"node {_q(node)} cannot update labels through pod status")
        if _claims(review.obj) != _claims(review.old):
            raise refused(review, f"node {_q(node)} cannot update resource claim statuses")
    elif review.subresource == "eviction":
        _own_pod(review, node, "evict")
    else:
        raise refused(review, f"unexpected operation {_q(review.operation)}, node {_q(node)} can only create and delete mirror pods")


def _claims(pod: Object | None) -> object:
    return ((pod or {}).get("status") or {}).get("resourceClaimStatuses") or []


def _mirror_pod(review: Review, node: str) -> None:
    pod = review.obj or {}
    spec = pod.get("spec") or {}
    if MIRROR_ANNOTATION not in objects.annotations(pod):
        raise refused(review, f'pod does not have "{MIRROR_ANNOTATION}" annotation, node {_q(node)} can only create mirror pods')
    if spec.get("nodeName") != node:
        raise refused(review, f"node {_q(node)} can only create pods with spec.nodeName set to itself")
    owners = objects.owners(pod)
    if owners and [(each.get("kind"), each.get("name")) for each in owners] != [("Node", node)]:
        raise refused(review, f"node {_q(node)} can only create pods with an owner reference set to itself")
    if spec.get("serviceAccountName"):
        raise refused(review, f"node {_q(node)} can not create pods that reference a service account")
    referred = {resource for resource, _, _ in references.of_pod(pod)}
    for resource in (each for each in OF_OTHERS if each in referred):
        raise refused(review, f"node {_q(node)} can not create pods that reference {resource}")


def _own_pod(review: Review, node: str, doing: str) -> None:
    pod = review.old or review.get(kinds.POD, review.name, review.namespace)
    if pod is not None and (pod.get("spec") or {}).get("nodeName") != node:
        raise refused(review, f"node {_q(node)} can only {doing} pods with spec.nodeName set to itself")


def _node(review: Review, node: str) -> None:
    if review.name != node:
        raise refused(review, f"node {_q(node)} is not allowed to modify node {_q(review.name)}")
    if review.operation == "DELETE" or review.obj is None:
        return
    labels, before = objects.labels(review.obj), objects.labels(review.old or {})
    changed = {key for key in {*labels, *before} if labels.get(key) != before.get(key)}
    forbidden = sorted(key for key in changed if not node_labels.is_a_nodes_own(key))
    if forbidden and review.operation == "CREATE":
        raise refused(review, f"node {_q(node)} is not allowed to set the following labels: {', '.join(forbidden)}")
    if forbidden:
        raise refused(review, f"is not allowed to modify labels: {', '.join(forbidden)}")
    if review.operation == "UPDATE" and not review.subresource:
        taints = [((each or {}).get("spec") or {}).get("taints") or [] for each in (review.obj, review.old)]
        if taints[0] != taints[1]:
            raise refused(review, f"node {_q(node)} is not allowed to modify taints")
        if objects.owners(review.obj) != objects.owners(review.old or {}):
            raise refused(review, f"node {_q(node)} is not allowed to modify ownerReferences")


def _token(review: Review, node: str) -> None:
    if review.subresource != "token":
        return
    reference = ((review.obj or {}).get("spec") or {}).get("boundObjectRef")
    if not reference or reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
        raise refused(review, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise refused(review, "node requested token with a pod binding without a uid")
    pod = review.get(kinds.POD, reference["name"], review.namespace)
    if pod is None or objects.uid(pod) != reference["uid"]:
        raise refused(review, "the UID in the bound object reference does not match the UID in record")
    if (pod.get("spec") or {}).get("nodeName") != node:
        raise refused(review, "node requested token bound to a pod scheduled on a different node")


def _own_name(what: str) -> Callable[[Review, str], None]:
    def check(review: Review, node: str) -> None:
        if review.operation != "DELETE" and review.name != node:
            raise refused(review, f"can only access {what} with the same name as the requesting node")

    return check


def _claim(review: Review, node: str) -> None:
    """Sizes in the status after a volume was expanded on the node, and nothing else."""
    if review.subresource != "status" or review.obj is None:
        raise refused(review, f"may only update PVC status: {review.operation}")
    spec, before = (dict((each or {}).get("spec") or {}) for each in (review.obj, review.old))
    if spec != before:
        raise refused(review, f"node {_q(node)} is not allowed to update fields other than status.quantity and status.conditions")


def _q(text: str) -> str:
    return f'"{text}"'


_RULES: Mapping[Kind, Callable[[Review, str], None]] = {
    kinds.POD: _pod,
    kinds.NODE: _node,
    kinds.SERVICE_ACCOUNT: _token,
    kinds.LEASE: _own_name("lease"),
    kinds.CSI_NODE: _own_name("CSINode"),
    kinds.PERSISTENT_VOLUME_CLAIM: _claim,
}
