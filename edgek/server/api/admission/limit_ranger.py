"""LimitRanger: what containers get that ask for nothing, and how little and how much a container, a pod or a claim may ask for.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgek.model import kinds, objects, quantity
from edgek.model.objects import Object
from edgek.model.quantity import ZERO, Quantity
from edgek.model.quota import needed_by_containers
from edgek.server.api.admission.base import Review, Step, refused

ANNOTATION = "kubernetes.io/limit-ranger"
CONTAINERS = (("initContainers", "init container"), ("containers", "container"))

Amounts = Mapping[str, Quantity]


class LimitRanger(Step):
    name = "LimitRanger"
    about = (kinds.POD, kinds.PERSISTENT_VOLUME_CLAIM)

    def admit(self, review: Review) -> None:
        if review.kind != kinds.POD or review.obj is None:
            return
        said: list[str] = []
        for item in _items(review, "Container"):
            for container, what in _containers(review.obj):
                said += _complete(container, what, item)
        if said:
            annotations = objects.metadata(review.obj).setdefault("annotations", None) or {}
            objects.metadata(review.obj)["annotations"] = {**annotations, ANNOTATION: f"LimitRanger plugin set: {'; '.join(said)}"}

    def validate(self, review: Review) -> None:
        assert review.obj is not None
        find = _pod_problems if review.kind == kinds.POD else _claim_problems
        problems = sorted(set(find(review, review.obj)))
        if problems:
            raise refused(review, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def _items(review: Review, type_: str) -> Iterator[Object]:
    for limits in review.find(kinds.LIMIT_RANGE, review.namespace):
        for item in (limits.get("spec") or {}).get("limits") or ():
            if item.get("type") == type_:
                yield item


def _containers(pod: Object) -> Iterator[tuple[Object, str]]:
    for member, what in CONTAINERS:
        for container in (pod.get("spec") or {}).get(member) or ():
            yield container, what


def _complete(container: Object, what: str, item: Object) -> list[str]:
    """Give a container what it does not ask for; what was given, in words."""
    # What the LimitRange itself leaves open follows from its other members, as the API defaults it.
    limits = {**(item.get("max") or {}), **(item.get("default") or {})}
    requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
    said = []
    for member, defaults, word in (("requests", requests, "request"), ("limits", limits, "limit")):
        has = (container.get("resources") or {}).get(member) or {}
        lacking = {name: amount for name, amount in defaults.items() if name not in has}
        if lacking:
            resources = container["resources"] = dict(container.get("resources") or {})
            resources[member] = {**has, **lacking}
            said.append(f"{', '.join(sorted(lacking))} {word} for {what} {container.get('name', '')}")
    return said


def _pod_problems(review: Review, pod: Object) -> Iterator[str]:
    for item in _items(review, "Container"):
        for container, _ in _containers(pod):
            yield from _problems("Container", item, _asked(container, "requests"), _asked(container, "limits"))
    for item in _items(review, "Pod"):
        yield from _problems("Pod", item, *(needed_by_containers(pod.get("spec") or {}, member) for member in ("requests", "limits")))


def _claim_problems(review: Review, claim: Object) -> Iterator[str]:
    asked = _amounts((((claim.get("spec") or {}).get("resources")) or {}).get("requests"))
    for item in _items(review, "PersistentVolumeClaim"):
        for name, least in _amounts(item.get("min")).items():
            yield from _too_little("PersistentVolumeClaim", name, least, asked, {})
        for name, most in _amounts(item.get("max")).items():
            said = f"maximum {name} usage per PersistentVolumeClaim is {most}"
            if name not in asked:
                yield f"{said}.  No request is specified"
            elif asked[name] > most:
                yield f"{said}, but request is {asked[name]}"


def _problems(what: str, item: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, least in _amounts(item.get("min")).items():
        yield from _too_little(what, name, least, requests, limits)
    for name, most in _amounts(item.get("max")).items():
        yield from _too_much(what, name, most, requests, limits)
    for name, ratio in _amounts(item.get("maxLimitRequestRatio")).items():
        yield from _too_far_apart(what, name, ratio, requests.get(name, ZERO), limits.get(name, ZERO))


def _too_little(what: str, name: str, least: Quantity, requests: Amounts, limits: Amounts) -> Iterator[str]:
    said = f"minimum {name} usage per {what} is {least}"
    if name not in requests:
        yield f"{said}.  No request is specified"
    elif requests[name] < least:
        yield f"{said}, but request is {requests[name]}"
    elif name in limits and limits[name] < least:
        yield f"{said}, but limit is {limits[name]}"


def _too_much(what: str, name: str, most: Quantity, requests: Amounts, limits: Amounts) -> Iterator[str]:
    said = f"maximum {name} usage per {what} is {most}"
    if name not in limits:
        yield f"{said}.  No limit is specified"
    elif limits[name] > most:
        yield f"{said}, but limit is {limits[name]}"
    elif name in requests and requests[name] > most:
        yield f"{said}, but request is {requests[name]}"


def _too_far_apart(what: str, name: str, ratio: Quantity, request: Quantity, limit: Quantity) -> Iterator[str]:
    said = f"{name} max limit to request ratio per {what} is {ratio}"
    if not request.nanos:
        yield f"{said}, but no request is specified or request is 0"
    elif not limit.nanos:
        yield f"{said}, but no limit is specified or limit is 0"
    elif limit.nanos * quantity.NANO > request.nanos * ratio.nanos:
        yield f"{said}, but provided ratio is {limit.nanos / request.nanos:f}"


def _asked(container: Object, member: str) -> dict[str, Quantity]:
    return _amounts((container.get("resources") or {}).get(member))


def _amounts(found: Mapping[str, str] | None) -> dict[str, Quantity]:
    return {name: quantity.parse(text) for name, text in (found or {}).items()}
