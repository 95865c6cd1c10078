"""What is accepted in a pod and yet probably not meant: texts for ``Warning`` headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgek.model.quantity import NANO
from edgek.server.resources.validation.fields import METADATA, SPEC, Path, items, shown
from edgek.server.resources.validation.values import quantity

_OLD_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_OLD_ANNOTATIONS = {
    "seccomp.security.alpha.kubernetes.io/pod": 'non-functional in v1.27+; use the "seccompProfile" field instead',
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
}
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_OLD_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_NULL_SELECTOR = "a null labelSelector results in matching no pod"
_DNS_LABEL_BYTES = 63

Template = Mapping[str, Any]
Rule = Callable[[Path, Path, Template], Iterator[str]]


def pod_warnings(pod: Template, meta: Path = METADATA, spec: Path = SPEC) -> list[str]:
    """Of a pod, or with the places given, of a template."""
    return [text for rule in _RULES for text in rule(meta, spec, pod)]


def _spec(pod: Template) -> dict[str, Any]:
    return pod.get("spec") or {}


def _node_labels(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    for key in _spec(pod).get("nodeSelector") or {}:
        if key in _OLD_NODE_LABELS:
            yield f"{(at / 'nodeSelector')[key]}: {_OLD_NODE_LABELS[key]}"


def _annotations(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    for key in sorted((pod.get("metadata") or {}).get("annotations") or {}):
        text = _OLD_ANNOTATIONS.get(key)
        if key.startswith(_SECCOMP_CONTAINER):
            text = 'non-functional in v1.27+; use the "seccompProfile" field instead'
        if text:
            yield f"{(meta / 'annotations')[key]}: {text}"


def _volumes(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    for place, volume in items(_spec(pod), "volumes", at):
        for name, text in _OLD_VOLUMES.items():
            if volume.get(name) is not None:
                yield f"{place / name}: {text}"
        if (ephemeral := volume.get("emptyDir")) is not None and ephemeral.get("sizeLimit") and _is_fraction(ephemeral["sizeLimit"]):
            yield f"{place / 'emptyDir' / 'sizeLimit'}: {_fraction(ephemeral['sizeLimit'])}"


def _spreading(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    for place, constraint in items(_spec(pod), "topologySpreadConstraints", at):
        if constraint.get("labelSelector") is None:
            yield f"{place / 'labelSelector'}: {_NULL_SELECTOR}"


def _affinity(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    for name in ("podAffinity", "podAntiAffinity"):
        terms, place = (_spec(pod).get("affinity") or {}).get(name), at / "affinity" / name
        for each_place, term in items(terms, "requiredDuringSchedulingIgnoredDuringExecution", place):
            if term.get("labelSelector") is None:
                yield f"{each_place / 'labelSelector'}: {_NULL_SELECTOR}"
        for each_place, term in items(terms, "preferredDuringSchedulingIgnoredDuringExecution", place):
            if (term.get("podAffinityTerm") or {}).get("labelSelector") is None:
                yield f"{each_place / 'podAffinityTerm' / 'labelSelector'}: {_NULL_SELECTOR}"


def _host_aliases(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    seen: set[str] = set()
    for place, alias in items(_spec(pod), "hostAliases", at):
        address = alias.get("ip") or ""
        if address in seen:
            yield f"{place / 'ip'}: duplicate ip {shown(address)}"
        seen.add(address)


def _pull_secrets(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    seen: set[str] = set()
    for place, secret in items(_spec(pod), "imagePullSecrets", at):
        name = secret.get("name") or ""
        if not name:
            yield f'{place / "name"}: invalid empty name ""'
        elif name in seen:
            yield f"{place / 'name'}: duplicate name {shown(name)}"
        seen.add(name)


def _containers(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for place, container in items(_spec(pod), kind, at):
            yield from _amounts(place, container)
            yield from _duplicate_env(place, container)
            yield from _duplicate_ports(place, container)


def _is_fraction(amount: str) -> bool:
    return quantity(amount).nanos % NANO != 0


def _fraction(amount: str) -> str:
    return f"fractional byte value {shown(amount)} is invalid, must be an integer"


def _amounts(at: Path, container: Mapping[str, Any]) -> Iterator[str]:
    resources = container.get("resources") or {}
    for kind in ("limits", "requests"):
        for name in ("memory", "ephemeral-storage"):
            amount = (resources.get(kind) or {}).get(name)
            if amount and _is_fraction(amount):
                yield f"{(at / 'resources' / kind)[name]}: {_fraction(amount)}"


def _duplicate_env(at: Path, container: Mapping[str, Any]) -> Iterator[str]:
    seen: dict[str, Mapping[str, Any]] = {}
    for place, variable in items(container, "env", at):
        name = variable.get("name") or ""
        if name in seen:
            # One that is built from its namesake is no mistake.
            if f"$({name})" in (variable.get("value") or ""):
                continue
            if variable == seen[name]:
                yield f"{place}: duplicate name {shown(name)}"
            else:
                yield f"{place}: hides previous definition of {shown(name)}, which may be dropped when using apply"
        seen[name] = variable


def _duplicate_ports(at: Path, container: Mapping[str, Any]) -> Iterator[str]:
    seen: dict[tuple[Any, ...], Path] = {}
    for place, port in items(container, "ports", at):
        identity = tuple(port.get(name) or 0 for name in ("containerPort", "hostPort", "hostIP", "protocol"))
        if identity in seen:
            yield f"{place}: duplicate port definition with {seen[identity]}"
        seen.setdefault(identity, place)


def _grace(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    grace = _spec(pod).get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        yield f"{at / 'terminationGracePeriodSeconds'}: must be >= 0; negative values are invalid and will be treated as 1"


def _name(meta: Path, at: Path, pod: Template) -> Iterator[str]:
    """A name becomes the host name in the pod, and that wants to be one DNS label."""
    name = (pod.get("metadata") or {}).get("name") or ""
    if meta is not METADATA or _spec(pod).get("hostname"):
        return
    problems = []
    if "." in name:
        problems.append("must not contain dots")
    if len(name) > _DNS_LABEL_BYTES:
        problems.append(f"must be no more than {_DNS_LABEL_BYTES} characters")
    if problems:
        text = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended"
        yield f"{meta / 'name'}: {text}: [{' '.join(problems)}]"


_RULES: tuple[Rule, ...] = (_node_labels, _annotations, _affinity, _spreading, _volumes, _host_aliases, _pull_secrets, _containers, _grace, _name)
