"""What a pod refers to by name: the secrets, ConfigMaps, claims and the service account without which it cannot start."""

from __future__ import annotations

from collections.abc import Iterator

from edgek.model import objects
from edgek.model.objects import Object

Reference = tuple[str, str, str]  # (resource, namespace, name)

# Members of a volume that name a secret of the pod's namespace, and the member of those that says its name.
_SECRET_REFERENCES = ("cephfs", "cinder", "csi", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def of_pod(pod: Object) -> frozenset[Reference]:
    namespace = objects.namespace(pod)
    spec = pod.get("spec") or {}
    found = {("secrets", each.get("name", "")) for each in spec.get("imagePullSecrets") or ()}
    found.add(("serviceaccounts", spec.get("serviceAccountName", "")))
    for volume in spec.get("volumes") or ():
        found.update(_of_volume(volume, objects.name(pod)))
    for container in containers(pod):
        found.update(_of_environment(container))
    claims = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    found.update(("resourceclaims", each.get("resourceClaimName", "")) for each in claims)
    found.update(("resourceclaims", each.get("resourceClaimName", "")) for each in spec.get("resourceClaims") or ())
    return frozenset((resource, namespace, name) for resource, name in found if name)


def containers(pod: Object) -> Iterator[Object]:
    """All of them: init, plain, ephemeral."""
    for member in CONTAINER_LISTS:
        yield from (pod.get("spec") or {}).get(member) or ()


def secrets_of_volume(volume: Object) -> set[tuple[str, str]]:
    """(namespace, name) of the secrets that a PersistentVolume names for the node that mounts it."""
    spec = volume.get("spec") or {}
    home = (spec.get("claimRef") or {}).get("namespace", "")
    csi = spec.get("csi") or {}
    found = [csi.get(member) or {} for member in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")]
    found += [(spec.get(member) or {}).get("secretRef") or {} for member in _SECRET_REFERENCES]
    return {(each.get("namespace") or home, each["name"]) for each in found if each.get("name")}


def _of_volume(volume: Object, pod_name: str) -> Iterator[tuple[str, str]]:
    yield "secrets", (volume.get("secret") or {}).get("secretName", "")
    yield "configmaps", (volume.get("configMap") or {}).get("name", "")
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod_name}-{volume.get('name', '')}"
    yield "secrets", (volume.get("azureFile") or {}).get("secretName", "")
    for member in _SECRET_REFERENCES:
        source = volume.get(member) or {}
        yield "secrets", (source.get("secretRef") or source.get("nodePublishSecretRef") or {}).get("name", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "secrets", (source.get("secret") or {}).get("name", "")
        yield "configmaps", (source.get("configMap") or {}).get("name", "")


def _of_environment(container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield "secrets", (source.get("secretRef") or {}).get("name", "")
        yield "configmaps", (source.get("configMapRef") or {}).get("name", "")
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        yield "secrets", (origin.get("secretKeyRef") or {}).get("name", "")
        yield "configmaps", (origin.get("configMapKeyRef") or {}).get("name", "")
