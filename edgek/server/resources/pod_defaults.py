"""What a pod spec gets that its author left out: in pods, in templates, and in pods alone (https://kubernetes.io/docs/reference/ for each field)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgek.model.objects import Object
from edgek.server.resources.validation.values import round_up_to_millis

FILE_MODE = 0o644
TOKEN_LIFE_S = 3600
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
# Volumes whose files have a mode.
_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")


def fill_members(obj: Object, defaults: dict[str, Any]) -> None:
    """Set what is absent or null."""
    for name, value in defaults.items():
        if obj.get(name) is None:
            obj[name] = value


def fill_blanks(obj: Object, defaults: dict[str, Any]) -> None:
    """Set what is absent, null or the empty string."""
    for name, value in defaults.items():
        if obj.get(name) in (None, ""):
            obj[name] = value


def default_pod(spec: Object) -> None:
    """A pod's own spec: that of a template, and what only pods get."""
    default_pod_spec(spec)
    fill_members(spec, {"enableServiceLinks": True})
    for container in containers_of(spec):
        _requests_from_limits(container)
    if spec.get("resources") is not None:
        _requests_from_limits(spec)
    if spec.get("hostNetwork"):
        for container in containers_of(spec):
            for port in container.get("ports") or ():
                if not port.get("hostPort"):
                    port["hostPort"] = port.get("containerPort", 0)


def default_template(template: Object) -> None:
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Object) -> None:
    fill_blanks(spec, {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"})
    fill_members(spec, {"terminationGracePeriodSeconds": 30})
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    # The older name of the same field; either one sets both.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    round_up_to_millis(spec.get("overhead"))
    _round_amounts(spec.get("resources") or {})
    for container in containers_of(spec):
        _default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def containers_of(spec: Object) -> Iterator[Object]:
    for kind in _CONTAINERS:
        yield from spec.get(kind) or ()


def pull_policy(image: str) -> str:
    """A tag that moves is pulled always, a fixed one or a digest once."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag in ("", "latest") else "IfNotPresent"


def _default_container(container: Object) -> None:
    fill_blanks(container, {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"})
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if container.get("resources") is None:
        container["resources"] = {}
    _round_amounts(container["resources"])
    for port in container.get("ports") or ():
        fill_blanks(port, {"protocol": "TCP"})
    for variable in container.get("env") or ():
        _default_source(variable.get("valueFrom") or {})
    for name in _PROBES:
        if container.get(name) is not None:
            _default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_handler(hook)


def _default_source(source: Object) -> None:
    """Of an environment variable, or of a file of a downward API volume."""
    if source.get("fieldRef") is not None:
        fill_blanks(source["fieldRef"], {"apiVersion": "v1"})
    if source.get("resourceFieldRef") is not None:
        fill_members(source["resourceFieldRef"], {"divisor": "0"})
    if source.get("fileKeyRef") is not None:
        fill_members(source["fileKeyRef"], {"optional": False})


def _default_probe(probe: Object) -> None:
    for name, value in {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}.items():
        if not probe.get(name):
            probe[name] = value
    _default_handler(probe)


def _default_handler(handler: Object) -> None:
    if handler.get("httpGet") is not None:
        fill_blanks(handler["httpGet"], {"path": "/", "scheme": "HTTP"})
    if handler.get("grpc") is not None:
        fill_members(handler["grpc"], {"service": ""})


def _default_volume(volume: Object) -> None:
    if not any(value is not None for name, value in volume.items() if name != "name"):
        volume["emptyDir"] = {}
    for name in _WITH_MODE:
        if volume.get(name) is not None:
            fill_members(volume[name], {"defaultMode": FILE_MODE})
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _default_source(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        _default_projection(source)
    if volume.get("ephemeral") is not None:
        claim = (volume["ephemeral"].get("volumeClaimTemplate") or {}).get("spec")
        if claim is not None:
            fill_members(claim, {"volumeMode": "Filesystem"})
    if volume.get("image") is not None and not volume["image"].get("pullPolicy"):
        volume["image"]["pullPolicy"] = pull_policy(volume["image"].get("reference") or "")
    default_volume_source(volume)


def default_volume_source(source: Object) -> None:
    """Sources that pods and persistent volumes share; the schema knows the defaults that are plain strings."""
    if source.get("hostPath") is not None:
        fill_members(source["hostPath"], {"type": ""})
    if source.get("azureDisk") is not None:
        fill_members(source["azureDisk"], {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False})
    if source.get("iscsi") is not None:
        fill_blanks(source["iscsi"], {"iscsiInterface": "default"})


def _default_projection(source: Object) -> None:
    if source.get("serviceAccountToken") is not None:
        fill_members(source["serviceAccountToken"], {"expirationSeconds": TOKEN_LIFE_S})
    for item in (source.get("downwardAPI") or {}).get("items") or ():
        _default_source(item)


def _round_amounts(resources: Object) -> None:
    for kind in ("limits", "requests"):
        round_up_to_millis(resources.get(kind))


def _requests_from_limits(owner: Object) -> None:
    """What is limited and not requested is requested in full."""
    resources = owner.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
