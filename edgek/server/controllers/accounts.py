"""As whom each controller acts: upstream's service account in kube-system, whose role (``system:controller:...``) allows what it does and no more."""

from __future__ import annotations

from collections.abc import Mapping

# By the name of the controller.
ACCOUNTS: Mapping[str, str] = {
    "attachment": "attachdetach-controller",
    "clusterrole-aggregation": "clusterrole-aggregation-controller",
    "daemonset": "daemon-set-controller",
    "deployment": "deployment-controller",
    "disruption": "disruption-controller",
    "endpoints": "endpoint-controller",
    "endpointslice": "endpointslice-controller",
    "endpointslicemirroring": "endpointslicemirroring-controller",
    "ephemeralvolume": "ephemeral-volume-controller",
    "expansion": "expand-controller",
    "garbage": "generic-garbage-collector",
    "job": "job-controller",
    "namespace": "namespace-controller",
    "nodecidr": "node-controller",
    "nodelifecycle": "node-controller",
    "podgc": "pod-garbage-collector",
    "provisioning": "persistent-volume-binder",
    "pvcprotection": "pvc-protection-controller",
    "pvprotection": "pv-protection-controller",
    "replicaset": "replicaset-controller",
    "replicationcontroller": "replication-controller",
    "resourcequota": "resourcequota-controller",
    "root-ca": "root-ca-cert-publisher",
    "secrettoken": "secret-token-controller",
    "serviceaccount": "service-account-controller",
    "tainteviction": "node-controller",
    "tokencleaner": "token-cleaner",
    "ttlafterfinished": "ttl-after-finished-controller",
    "volumebinding": "persistent-volume-binder",
}


def account_of(controller: str) -> str:
    """The user name."""
    return f"system:serviceaccount:kube-system:{ACCOUNTS.get(controller, controller)}"
