"""ServiceAccount: every pod runs as an account, and finds a token for the API where client libraries look for it."""

from __future__ import annotations

import random

from edgek.model import kinds, objects, references
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused

DEFAULT_ACCOUNT = "default"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
ROOT_CA_CONFIG_MAP = "kube-root-ca.crt"
TOKEN_S = 3607  # told apart by it (token_request.py): these live longer than they say
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class ServiceAccount(Step):
    name = "ServiceAccount"
    about = (kinds.POD,)

    def admit(self, review: Review) -> None:
        pod = review.obj
        assert pod is not None
        if MIRROR_ANNOTATION in objects.annotations(pod):
            _check_mirror(review, pod)
            return
        spec = pod.setdefault("spec", {})
        name = spec["serviceAccountName"] = spec["serviceAccount"] = spec.get("serviceAccountName") or DEFAULT_ACCOUNT
        account = review.get(kinds.SERVICE_ACCOUNT, name, review.namespace)
        if account is None:
            raise refused(review, f'error looking up service account {review.namespace}/{name}: serviceaccount "{name}" not found')
        if _wants_token(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]


def _check_mirror(review: Review, pod: Object) -> None:
    """A mirror pod shows a pod that no API object stands for: it must not get at anything that only the API gives out."""
    if (pod.get("spec") or {}).get("serviceAccountName"):
        raise refused(review, "a mirror pod may not reference service accounts")
    if any(resource == kinds.SECRET.plural for resource, _, _ in references.of_pod(pod)):
        raise refused(review, "a mirror pod may not reference secrets")
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if any("serviceAccountToken" in source for source in (volume.get("projected") or {}).get("sources") or ()):
            raise refused(review, "a mirror pod may not use ServiceAccountToken volume projections")


def _wants_token(spec: Object, account: Object) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object) -> None:
    volumes = spec.get("volumes") or []
    there = next((volume["name"] for volume in volumes if volume.get("name", "").startswith(VOLUME_PREFIX)), "")
    name = there or VOLUME_PREFIX + "".join(random.choices(NAME_LETTERS, k=5))
    without = [
        container
        for member in ("initContainers", "containers")
        for container in spec.get(member) or ()
        if all(mount.get("mountPath") != TOKEN_PATH for mount in container.get("volumeMounts") or ())
    ]
    for container in without:
        mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    if without and not there:
        spec["volumes"] = [*volumes, _volume(name)]


def _volume(name: str) -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_S, "path": "token"}},
        {"configMap": {"name": ROOT_CA_CONFIG_MAP, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
