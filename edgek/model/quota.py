"""What an object takes of a ResourceQuota: which quotas it falls under, and how much of each of their resources it uses.

https://kubernetes.io/docs/concepts/policy/resource-quotas/. Pure: admission charges with it, the controller counts with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edgek.model import kinds, quantity
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.quality import quality_class
from edgek.model.quantity import ZERO, Quantity

Usage = dict[str, Quantity]

ONE = Quantity(quantity.NANO)

# Kinds that were counted by their bare name before ``count/`` came.
COUNTED_BY_NAME = (
    kinds.CONFIG_MAP,
    kinds.PERSISTENT_VOLUME_CLAIM,
    kinds.POD,
    kinds.REPLICATION_CONTROLLER,
    kinds.RESOURCE_QUOTA,
    kinds.SECRET,
    kinds.SERVICE,
)
# Compute resources that a quota may name without "requests.".
SHORT_NAMES = ("cpu", "memory", "ephemeral-storage")
CLASS_SUFFIX = "storageclass.storage.k8s.io"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
BEST_EFFORT_RESOURCES = frozenset({"pods", "count/pods"})


def usage(kind: Kind, obj: Object) -> Usage:
    """Everything that it takes. A pod that has ended takes only its place in the count of objects."""
    found: Usage = {f"count/{kind.resource}": ONE}
    if kind == kinds.POD:
        if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return found
        found.update(_pod(obj))
    if kind in COUNTED_BY_NAME:
        found[kind.plural] = ONE
    if kind == kinds.SERVICE:
        found.update(_service(obj.get("spec") or {}))
    elif kind == kinds.PERSISTENT_VOLUME_CLAIM:
        found.update(_claim(obj))
    return found


def applies(quota: Object, kind: Kind, obj: Object) -> bool:
    """Whether all scopes of a quota fit the object. A quota without scopes is for everything."""
    return all(kind == kinds.POD and _fits(scope, operator, values, obj) for scope, operator, values in _scopes(quota))


def tracked(quota: Object, hard: Mapping[str, str]) -> dict[str, Quantity]:
    """What of ``hard`` this quota limits: one for best-effort pods can only count them."""
    amounts = {name: quantity.parse(text) for name, text in hard.items()}
    if any(scope == "BestEffort" for scope, _, _ in _scopes(quota)):
        return {name: amount for name, amount in amounts.items() if name in BEST_EFFORT_RESOURCES}
    return amounts


def unspecified(names: Iterable[str], pod: Object) -> dict[str, list[str]]:
    """Limited compute resources that containers of a pod say nothing of, by the containers' names: what is not said cannot be counted."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        member, _, resource = name.rpartition(".") if name.startswith(("requests.", "limits.")) else ("requests", "", name)
        if resource not in ("cpu", "memory"):
            continue
        for container in _containers(pod):
            if resource not in (_resources(container).get(member) or {}):
                found.setdefault(container.get("name", ""), []).append(name)
    return found


def total(usages: Iterable[Usage]) -> Usage:
    found: Usage = {}
    for each in usages:
        for name, amount in each.items():
            found[name] = found.get(name, ZERO) + amount
    return found


def _scopes(quota: Object) -> Iterator[tuple[str, str, list[str]]]:
    spec = quota.get("spec") or {}
    for scope in spec.get("scopes") or ():
        yield scope, "Exists", []
    for each in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        yield each.get("scopeName", ""), each.get("operator", "Exists"), list(each.get("values") or ())


def _fits(scope: str, operator: str, values: list[str], pod: Object) -> bool:
    spec = pod.get("spec") or {}
    ends = spec.get("activeDeadlineSeconds") is not None
    match scope:
        case "Terminating":
            return ends
        case "NotTerminating":
            return not ends
        case "BestEffort":
            return _is_best_effort(pod)
        case "NotBestEffort":
            return not _is_best_effort(pod)
        case "PriorityClass":
            return _selects(operator, values, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return any(_reaches_out(term) for term in _affinity_terms(spec))
    return False


def _selects(operator: str, values: list[str], name: str) -> bool:
    match operator:
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return not name
    return bool(name)


def _is_best_effort(pod: Object) -> bool:
    return quality_class(pod.get("spec") or {}) == "BestEffort"


def _affinity_terms(spec: Object) -> Iterator[Object]:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        yield from terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for weighted in terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}


def _reaches_out(term: Object) -> bool:
    return bool(term.get("namespaces")) or term.get("namespaceSelector") is not None


def _containers(pod: Object) -> Iterator[Object]:
    spec = pod.get("spec") or {}
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def _resources(container: Object) -> Object:
    return container.get("resources") or {}


def _pod(pod: Object) -> Usage:
    found: Usage = {}
    for name, amount in needed(pod, "requests").items():
        found[f"requests.{name}"] = amount
        if name in SHORT_NAMES or name.startswith("hugepages-"):
            found[name] = amount
    for name, amount in needed(pod, "limits").items():
        found[f"limits.{name}"] = amount
    return found


def needed(pod: Object, member: str) -> Usage:
    """What a pod needs at its greediest, with its overhead. What it says for the whole pod counts instead of what its containers say.

    ``requests.of_pod`` reckons so, too, in plain numbers.
    """
    spec = pod.get("spec") or {}
    overhead = {name: quantity.parse(text) for name, text in (spec.get("overhead") or {}).items()}
    return total([{**needed_by_containers(spec, member), **_amounts(spec, member)}, overhead])


def needed_by_containers(spec: Object, member: str) -> Usage:
    """The containers together with the sidecars, or one init container with the sidecars before it. ``member``: requests or limits."""
    running = total(_amounts(container, member) for container in spec.get("containers") or ())
    sidecars: Usage = {}
    peak: Usage = {}
    for container in spec.get("initContainers") or ():
        own = total([_amounts(container, member), sidecars])
        if container.get("restartPolicy") == "Always":
            sidecars = own
        peak = _highest(peak, own)
    return _highest(total([running, sidecars]), peak)


def _highest(left: Usage, right: Usage) -> Usage:
    return {name: max(left.get(name, ZERO), right.get(name, ZERO)) for name in {**left, **right}}


def _amounts(container: Object, member: str) -> Usage:
    return {name: quantity.parse(text) for name, text in (_resources(container).get(member) or {}).items()}


def _service(spec: Object) -> Usage:
    balanced = spec.get("type") == "LoadBalancer"
    ports = spec.get("ports") or ()
    if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
        ports = [port for port in ports if port.get("nodePort")]
    exposed = len(ports) if balanced or spec.get("type") == "NodePort" else 0
    return {"services.loadbalancers": ONE if balanced else ZERO, "services.nodeports": Quantity(exposed * quantity.NANO)}


def _claim(claim: Object) -> Usage:
    spec = claim.get("spec") or {}
    storage = quantity.parse(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "0")
    annotations = (claim.get("metadata") or {}).get("annotations") or {}
    class_name = annotations.get(CLASS_ANNOTATION) or spec.get("storageClassName") or ""
    found = {"requests.storage": storage}
    if class_name:
        found[f"{class_name}.{CLASS_SUFFIX}/requests.storage"] = storage
        found[f"{class_name}.{CLASS_SUFFIX}/persistentvolumeclaims"] = ONE
    return found


def counted_kind(name: str) -> Kind | None:
    """The kind whose objects use a resource of a quota; None for a kind that is not built in."""
    if name.startswith("count/"):
        resource = name.removeprefix("count/")
        return next((kind for kind in kinds.KINDS if kind.resource == resource), None)
    if name.startswith("services."):
        return kinds.SERVICE
    if name == "requests.storage" or CLASS_SUFFIX in name:
        return kinds.PERSISTENT_VOLUME_CLAIM
    return next((kind for kind in COUNTED_BY_NAME if kind.plural == name), kinds.POD)
