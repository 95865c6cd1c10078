"""What a node may read: only what the pods on it need. (Upstream's Node authoriser.)

A node's user is ``system:node:NAME`` in the group ``system:nodes``. Which pods are on which node is known from the store's index, by watching;
a pod is decoded the first time its node asks for something, and only what it refers to is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from edgek.model import kinds, objects, packed, references
from edgek.model.local_storage import NODE_LABEL
from edgek.model.objects import Object
from edgek.model.references import Reference
from edgek.server.api.identity import Attributes, Decision, User
from edgek.server.api.rbac import Rule, rules_of
from edgek.server.store.backend import Backend, Event, Key, Record

NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
NODE_ROLE = "system:node"
LEASE_NAMESPACE = "kube-node-lease"
READ = ("get", "list", "watch")
OWN_OBJECT_VERBS = ("get", "create", "update", "patch", "delete")

ALLOWED = Decision(True)


def node_name(user: User) -> str:
    """The node that a user is; empty for everybody else."""
    return user.name.removeprefix(NODE_PREFIX) if user.name.startswith(NODE_PREFIX) and NODES_GROUP in user.groups else ""


class NodeAccess:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pods: dict[str, dict[Key, frozenset[Reference] | None]] = {}  # per node; None: not decoded yet
        self._rules: tuple[Rule, ...] | None = None
        page = backend.list(kinds.POD.storage)
        for record in page.records:
            self._put(record)
        self._subscription = backend.watch(kinds.POD.storage, "", page.revision, self._hear)

    def close(self) -> None:
        self._subscription.close()

    def decide(self, asked: Attributes) -> Decision | None:
        """None for a user that is no node. A refusal leaves the last word to RBAC."""
        node = node_name(asked.user)
        if not node:
            return None
        special = _SPECIAL.get((asked.group, asked.resource, asked.subresource)) if asked.is_resource else None
        if special is not None:
            return special(self, node, asked)
        return Decision(any(rule.allows(asked) for rule in self._node_rules()))

    # Pods and what they refer to

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.previous is not None:
                self._drop(event.previous)
            if event.type != "DELETED":
                self._put(event.record)

    def _put(self, record: Record) -> None:
        node = record.fields.get("spec.nodeName")
        if node:
            self._pods.setdefault(node, {})[record.key] = None

    def _drop(self, record: Record) -> None:
        node = record.fields.get("spec.nodeName", "")
        pods = self._pods.get(node, {})
        pods.pop(record.key, None)
        if not pods:
            self._pods.pop(node, None)

    def _references(self, node: str) -> Iterator[frozenset[Reference]]:
        pods = self._pods.get(node, {})
        for key, known in pods.items():
            if known is None:
                pod = self._read(key)
                known = pods[key] = references.of_pod(pod) if pod else frozenset()
            yield known

    def _refers(self, node: str, wanted: Reference) -> bool:
        return any(wanted in references for references in self._references(node))

    def _read(self, key: Key) -> Object | None:
        record = self._backend.get(key)
        return orjson.loads(record.body) if record else None

    def _node_rules(self) -> tuple[Rule, ...]:
        if self._rules is None:
            self._rules = rules_of(packed.load("roles")["ClusterRole"][NODE_ROLE])
        return self._rules

    # What is judged by more than rules

    def _read_referred(self, node: str, asked: Attributes) -> Decision:
        """Secrets and ConfigMaps: any read, but one by one."""
        if asked.verb not in READ or asked.subresource:
            return Decision(False, f"can only read resources of this type: {asked.verb}" if asked.verb not in READ else "cannot read subresource")
        if not asked.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, asked, self._refers(node, (asked.resource, asked.namespace, asked.name)) or self._volume_needs(node, asked))

    def _get_resource_claim(self, node: str, asked: Attributes) -> Decision:
        return self._get(node, asked, self._refers(node, (asked.resource, asked.namespace, asked.name)))

    def _get_claim(self, node: str, asked: Attributes) -> Decision:
        """Upstream lets a node get a claim only, so its kubelet asks again and again; ours may watch the one it waits for."""
        return self._get(node, asked, self._refers(node, (asked.resource, asked.namespace, asked.name)), READ)

    def _get_volume(self, node: str, asked: Attributes) -> Decision:
        """Those that its pods use, as for claims; and all of those whose directories are its own, to delete them."""
        if asked.verb in READ and f"{NODE_LABEL}={node}" in asked.label_selector.split(","):
            return ALLOWED
        volume = self._read(Key(kinds.PERSISTENT_VOLUME.storage, "", asked.name))
        if asked.verb == "patch" and not asked.subresource and objects.labels(volume or {}).get(NODE_LABEL) == node:
            return ALLOWED
        claim = ((volume or {}).get("spec") or {}).get("claimRef") or {}
        wanted = (kinds.PERSISTENT_VOLUME_CLAIM.plural, claim.get("namespace", ""), claim.get("name", ""))
        return self._get(node, asked, bool(claim) and self._refers(node, wanted), READ)

    def _get_attachment(self, node: str, asked: Attributes) -> Decision:
        attachment = self._read(Key(kinds.VOLUME_ATTACHMENT.storage, "", asked.name)) or {}
        return self._get(node, asked, (attachment.get("spec") or {}).get("nodeName") == node)

    def _get_account(self, node: str, asked: Attributes) -> Decision:
        return self._get(node, asked, self._refers(node, ("serviceaccounts", asked.namespace, asked.name)))

    def _change_claim_status(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in ("update", "patch", "get"):
            return Decision(False, "can only get/update/patch the status subresource of this type")
        return self._related(node, asked, self._refers(node, ("persistentvolumeclaims", asked.namespace, asked.name)))

    def _create_token(self, node: str, asked: Attributes) -> Decision:
        if asked.verb != "create":
            return Decision(False, "can only create tokens for individual service accounts")
        return self._related(node, asked, self._refers(node, ("serviceaccounts", asked.namespace, asked.name)))

    def _own_lease(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in OWN_OBJECT_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a node lease")
        if asked.namespace != LEASE_NAMESPACE:
            return Decision(False, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if asked.verb != "create" and asked.name != node:  # the name of a new one is in the body; NodeRestriction holds it against the node
            return Decision(False, "can only access node lease with the same name as the requesting node")
        return ALLOWED

    def _own_csi_node(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in OWN_OBJECT_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a CSINode")
        if asked.verb != "create" and asked.name != node:
            return Decision(False, "can only access CSINode with the same name as the requesting node")
        return ALLOWED

    def _own_node(self, node: str, asked: Attributes) -> Decision:
        if asked.verb in READ and asked.name != node:
            return Decision(False, f"node '{node}' cannot read all nodes, only its own Node object")
        return Decision(any(rule.allows(asked) for rule in self._node_rules()))

    def _own_pods(self, node: str, asked: Attributes) -> Decision:
        if asked.verb == "get":
            return self._related(node, asked, Key(kinds.POD.storage, asked.namespace, asked.name) in self._pods.get(node, {}))
        if asked.verb in READ and f"spec.nodeName={node}" not in asked.field_selector.split(","):
            return Decision(False, "can only list/watch pods with spec.nodeName field selector")
        return Decision(any(rule.allows(asked) for rule in self._node_rules()))

    def _get(self, node: str, asked: Attributes, related: bool, verbs: Sequence[str] = ("get",)) -> Decision:
        if asked.verb not in verbs:
            return Decision(False, "can only get individual resources of this type")
        if asked.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, asked, related)

    def _related(self, node: str, asked: Attributes, related: bool) -> Decision:
        if not asked.name:
            return Decision(False, "No Object name found")
        return ALLOWED if related else Decision(False, f"no relationship found between node '{node}' and this object")

    def _volume_needs(self, node: str, asked: Attributes) -> bool:
        """Whether a secret is one that a volume of the node's pods names (CSI and iSCSI drivers have those)."""
        if asked.resource != kinds.SECRET.plural:
            return False
        wanted = (asked.namespace, asked.name)
        claims = {found for references in self._references(node) for found in references if found[0] == kinds.PERSISTENT_VOLUME_CLAIM.plural}
        for _, namespace, name in claims:
            claim = self._read(Key(kinds.PERSISTENT_VOLUME_CLAIM.storage, namespace, name))
            volume_name = ((claim or {}).get("spec") or {}).get("volumeName", "")
            volume = self._read(Key(kinds.PERSISTENT_VOLUME.storage, "", volume_name)) if volume_name else None
            if volume and wanted in references.secrets_of_volume(volume):
                return True
        return False


_SPECIAL: Mapping[tuple[str, str, str], Callable[[NodeAccess, str, Attributes], Decision]] = {
    ("", "secrets", ""): NodeAccess._read_referred,
    ("", "configmaps", ""): NodeAccess._read_referred,
    ("", "persistentvolumeclaims", ""): NodeAccess._get_claim,
    ("", "persistentvolumeclaims", "status"): NodeAccess._change_claim_status,
    ("", "persistentvolumes", ""): NodeAccess._get_volume,
    ("", "serviceaccounts", ""): NodeAccess._get_account,
    ("", "serviceaccounts", "token"): NodeAccess._create_token,
    ("", "nodes", ""): NodeAccess._own_node,
    ("", "pods", ""): NodeAccess._own_pods,
    ("resource.k8s.io", "resourceclaims", ""): NodeAccess._get_resource_claim,
    ("storage.k8s.io", "volumeattachments", ""): NodeAccess._get_attachment,
    ("storage.k8s.io", "csinodes", ""): NodeAccess._own_csi_node,
    ("coordination.k8s.io", "leases", ""): NodeAccess._own_lease,
}
