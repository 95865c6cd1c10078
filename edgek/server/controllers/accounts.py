"""As whom each controller acts: upstream's service account in kube-system, whose role (``system:controller:...``) allows what it does and no more."""

from __future__ import annotations

from collections.abc import Mapping

# controller: account
ACCOUNTS: Mapping[str, str] = {
    "daemonset": "daemon-set-controller",
    "deployment": "deployment-controller",
    "disruption": "disruption-controller",
    "poddisruptionbudget": "disruption-controller",
    "endpoints": "endpoint-controller",
    "endpointslice": "endpointslice-controller",
    "endpointslicemirroring": "endpointslicemirroring-controller",
    "garbage": "generic-garbage-collector",
    "job": "job-controller",
    "namespace": "namespace-controller",
    "nodecidr": "node-controller",
    "nodelifecycle": "node-controller",
    "podgc": "pod-garbage-collector",
    "replicaset": "replicaset-controller",
    "replicationcontroller": "replication-controller",
    "root-ca": "root-ca-cert-publisher",
    "serviceaccount": "service-account-controller",
    "tainteviction": "node-controller",
    "ttlafterfinished": "ttl-after-finished-controller",
}


def account_of(controller: str) -> str:
    """The user name."""
    return f"system:serviceaccount:kube-system:{ACCOUNTS.get(controller, controller)}"
