"""The roles and bindings that a cluster holds from the start, and what is added to one that lacks something.

Like upstream, only what is missing is added: who gave a default role more keeps that. An annotation on the object turns even this off.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgek.model import kinds, objects, packed
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.default_objects import Default, merged
from edgek.server.api.node_access import NODES_GROUP
from edgek.server.api.rbac import rules_of, uncovered

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
GROUP = kinds.ROLE.group

RECORDING_USER = "test-all-user"  # of the server from which the roles were read: nobody in a cluster

AGENT_ROLE = "edgek:agent"
# What an agent of edgek reads beyond upstream's kubelet, because it is proxy, DNS and pod network as well.
AGENT_RULES = (
    {"apiGroups": [""], "resources": ["namespaces", "nodes", "services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "watch"]},
)


TOKEN_ROLE = "edgek:controller:secret-token-controller"
# Upstream's token controller acts as the whole controller manager; ours has an account of its own like the others.
TOKEN_RULES = (
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update", "delete"]},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
)


def all_of(*, agents: bool) -> Iterator[Default]:
    """``agents``: also what agents and controllers of edgek need beyond upstream's."""
    found = packed.load("roles")
    for kind in (kinds.CLUSTER_ROLE, kinds.ROLE):
        for name, body in found[kind.name].items():
            yield _role(kind, name, body)
    for kind in (kinds.CLUSTER_ROLE_BINDING, kinds.ROLE_BINDING):
        for name, body in found[kind.name].items():
            yield _binding(kind, name, body)
    if agents:
        nodes = {"apiGroup": GROUP, "kind": "Group", "name": NODES_GROUP}
        account = {"kind": "ServiceAccount", "name": "secret-token-controller", "namespace": "kube-system"}
        for name, rules, subject in ((AGENT_ROLE, AGENT_RULES, nodes), (TOKEN_ROLE, TOKEN_RULES, account)):
            yield _role(kinds.CLUSTER_ROLE, name, {"rules": list(rules)})
            role_ref = {"apiGroup": GROUP, "kind": kinds.CLUSTER_ROLE.name, "name": name}
            yield _binding(kinds.CLUSTER_ROLE_BINDING, name, {"roleRef": role_ref, "subjects": [subject]})


def mended_role(seen: Object, wanted: Object) -> Object | None:
    """``seen`` with the rules and labels that it lacks; None when it lacks none."""
    lacking = [] if wanted.get("aggregationRule") else uncovered(rules_of(seen), rules_of(wanted))
    marks = _with_marks(seen, wanted)
    if not lacking and marks == seen.get("metadata") and seen.get("aggregationRule") == wanted.get("aggregationRule"):
        return None
    changed = {**seen, "metadata": marks}
    if wanted.get("aggregationRule"):
        changed["aggregationRule"] = wanted["aggregationRule"]
    if lacking:
        changed["rules"] = [*(seen.get("rules") or ()), *(rule.as_object() for rule in lacking)]
    return changed


def mended_binding(seen: Object, wanted: Object) -> Object | None:
    """``seen`` with the subjects that it lacks. One that binds another role cannot be mended, and stays."""
    lacking = [each for each in wanted.get("subjects") or () if each not in (seen.get("subjects") or ())]
    marks = _with_marks(seen, wanted)
    if seen.get("roleRef") != wanted["roleRef"] or (not lacking and marks == seen.get("metadata")):
        return None
    changed = {**seen, "metadata": marks}
    if lacking:
        changed["subjects"] = [*(seen.get("subjects") or ()), *lacking]
    return changed


def _role(kind: Kind, name: str, body: Object) -> Default:
    wanted = _marked(kind, name, body)
    wanted["rules"] = body.get("rules") or []
    if body.get("aggregationRule"):
        wanted["aggregationRule"] = body["aggregationRule"]
    return Default(kind, wanted, lambda seen: mended_role(seen, wanted) if _ours(seen) else None)


def _binding(kind: Kind, name: str, body: Object) -> Default:
    wanted = _marked(kind, name, body)
    wanted["roleRef"] = body["roleRef"]
    subjects = [subject for subject in body.get("subjects") or () if subject["name"] != RECORDING_USER]
    if subjects:
        wanted["subjects"] = subjects
    return Default(kind, wanted, lambda seen: mended_binding(seen, wanted) if _ours(seen) else None)


def _marked(kind: Kind, name: str, body: Object) -> Object:
    """Names of what lies in a namespace are packed as ``namespace/name``."""
    meta: Object = {"name": name.rpartition("/")[2], "labels": {**LABELS, **(body.get("labels") or {})}, "annotations": {AUTOUPDATE: "true"}}
    if kind.namespaced:
        meta["namespace"] = body["namespace"]
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": meta}


def _with_marks(seen: Object, wanted: Object) -> Object:
    return merged(seen.get("metadata") or {}, wanted["metadata"])


def _ours(seen: Object) -> bool:
    return objects.annotations(seen).get(AUTOUPDATE, "true") == "true"
