"""PodSecurity: labels of a namespace say what its pods may do to their node. Pods that break the rule are refused, what would make such pods warns.

https://kubernetes.io/docs/concepts/security/pod-security-admission/. Versions of the rules are named as asked; the newest are applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from edgek.model import kinds, objects
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.admission.base import Review, Step, refused
from edgek.server.api.admission.pod_security_checks import LEVELS, Violation, violations
from edgek.server.api.quoting import quoted

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")
PODS_LOOKED_AT = 3000  # when a namespace gets a new level; a bigger one must not hold up the request

# Where the pods-to-be are in the kinds that make pods.
_BESIDE_SELECTOR = (kinds.REPLICATION_CONTROLLER, kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB)
TEMPLATES: Mapping[Kind, tuple[str, ...]] = {
    **dict.fromkeys(_BESIDE_SELECTOR, ("spec", "template")),
    kinds.CRON_JOB: ("spec", "jobTemplate", "spec", "template"),
    kinds.POD_TEMPLATE: ("template",),
}


@attrs.frozen
class Policy:
    level: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


class PodSecurity(Step):
    name = "PodSecurity"

    def handles(self, review: Review) -> bool:
        if review.operation not in ("CREATE", "UPDATE"):
            return False
        if review.kind == kinds.POD:
            # What an update of a pod may change makes it no more dangerous; an ephemeral container does.
            return review.subresource == "ephemeralcontainers" or (review.operation == "CREATE" and not review.subresource)
        return not review.subresource and (review.kind in TEMPLATES or review.kind == kinds.NAMESPACE)

    def validate(self, review: Review) -> None:
        assert review.obj is not None
        if review.kind == kinds.NAMESPACE:
            _check_namespace(review, review.obj)
            return
        labels = objects.labels(review.get(kinds.NAMESPACE, review.namespace, "") or {})
        enforced, warned = policy(labels, "enforce"), policy(labels, "warn")
        if review.kind != kinds.POD:
            _warn(review, warned, _template(review.kind, review.obj))
            return
        found = violations(enforced.level, review.obj)
        if found:
            raise refused(review, f"violates PodSecurity {quoted(str(enforced))}: {_joined(found)}")
        if warned != enforced:
            _warn(review, warned, review.obj)


def policy(labels: Mapping[str, str], mode: str) -> Policy:
    """What the labels of a namespace say. Who is not warned otherwise is warned of what will be refused."""
    level = labels.get(PREFIX + mode)
    if level is None and mode == "warn":
        return policy(labels, "enforce")
    version = labels.get(f"{PREFIX}{mode}-version", "latest")
    # A label that went wrong before it was checked must not let everything in.
    return Policy(level if level in LEVELS else "restricted", version) if level is not None else Policy()


def _warn(review: Review, policy: Policy, pod: Object | None) -> None:
    found = violations(policy.level, pod) if pod else []
    if found:
        review.warnings.append(f"would violate PodSecurity {quoted(str(policy))}: {_joined(found)}")


def _template(kind: Kind, obj: Object) -> Object | None:
    found: Object | None = obj
    for member in TEMPLATES[kind]:
        found = (found or {}).get(member)
    return found


def _joined(found: list[Violation]) -> str:
    return ", ".join(map(str, found))


def _check_namespace(review: Review, namespace: Object) -> None:
    causes = list(_label_problems(objects.labels(namespace)))
    if causes:
        raise responses.invalid("", kinds.NAMESPACE.name, review.name, causes)
    if review.operation != "UPDATE":
        return
    new, old = policy(objects.labels(namespace), "enforce"), policy(objects.labels(review.old or {}), "enforce")
    if new != old and LEVELS.index(new.level) > 0 and LEVELS.index(new.level) >= LEVELS.index(old.level):
        review.warnings.extend(_existing(review, new))


def _label_problems(labels: Mapping[str, str]) -> Iterator[Cause]:
    for mode in MODES:
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            said = f"Invalid value: {quoted(level)}: must be one of {', '.join(LEVELS)}"
            yield Cause("FieldValueInvalid", said, f"metadata.labels[{PREFIX}{mode}]")
        if version is not None and not VERSION.fullmatch(version):
            said = f'Invalid value: {quoted(version)}: must be "latest" or "v1.x"'
            yield Cause("FieldValueInvalid", said, f"metadata.labels[{PREFIX}{mode}-version]")


def _existing(review: Review, policy: Policy) -> Iterator[str]:
    """Warnings about pods that are there and would not be let in any more, those with the same faults together."""
    by_fault: dict[str, list[str]] = {}
    for pod in review.find(kinds.POD, review.name)[:PODS_LOOKED_AT]:
        found = violations(policy.level, pod)
        if found:
            by_fault.setdefault(", ".join(violation.reason for violation in found), []).append(objects.name(pod))
    if by_fault:
        yield f"existing pods in namespace {quoted(review.name)} violate the new PodSecurity enforce level {quoted(str(policy))}"
    for fault, names in sorted(by_fault.items(), key=lambda item: min(item[1])):
        others = f" (and {len(names) - 1} other pod{'s' if len(names) > 2 else ''})" if len(names) > 1 else ""
        yield f"{min(names)}{others}: {fault}"
