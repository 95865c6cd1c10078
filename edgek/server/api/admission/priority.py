"""Priority: the number behind a pod's priority class, at most one default class, and two classes that stay."""

from __future__ import annotations

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused

SYSTEM_CLASSES = frozenset({"system-cluster-critical", "system-node-critical"})
PREEMPT = "PreemptLowerPriority"


class Priority(Step):
    name = "Priority"
    about = (kinds.POD, kinds.PRIORITY_CLASS)
    operations = ("CREATE", "UPDATE", "DELETE")

    def admit(self, review: Review) -> None:
        if review.kind == kinds.PRIORITY_CLASS:
            if review.operation == "DELETE" and review.name in SYSTEM_CLASSES:
                raise refused(review, "this is a system priority class and cannot be deleted")
            return
        if review.obj is None:
            return
        spec = review.obj.setdefault("spec", {})
        if review.operation == "UPDATE":
            _keep(spec, (review.old or {}).get("spec") or {})
        else:
            _resolve(review, spec)

    def validate(self, review: Review) -> None:
        if review.kind != kinds.PRIORITY_CLASS or not review.obj or not review.obj.get("globalDefault"):
            return
        default = _default_class(review)
        if default is not None and objects.name(default) != review.name:
            raise refused(review, f"PriorityClass {objects.name(default)} is already marked as default. Only one default can exist")


def _resolve(review: Review, spec: Object) -> None:
    name = spec.get("priorityClassName")
    found = review.get(kinds.PRIORITY_CLASS, name, "") if name else _default_class(review)
    if name and found is None:
        raise refused(review, f"no PriorityClass with name {name} was found")
    if found is not None and not name:
        spec["priorityClassName"] = objects.name(found)
    value, policy = (found or {}).get("value", 0), (found or {}).get("preemptionPolicy") or PREEMPT
    computed = "must not be provided in pod spec; priority admission controller computed"
    source = "from the given PriorityClass name"
    if spec.get("priority") not in (None, value):
        raise refused(review, f"the integer value of priority ({spec['priority']}) {computed} {value} {source}")
    if spec.get("preemptionPolicy") not in (None, policy):
        raise refused(review, f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) {computed} {policy} {source}")
    spec["priority"], spec["preemptionPolicy"] = value, policy


def _keep(spec: Object, old: Object) -> None:
    """A client that does not know these fields must not clear them."""
    for member in ("priority", "preemptionPolicy"):
        if spec.get(member) is None and old.get(member) is not None:
            spec[member] = old[member]


def _default_class(review: Review) -> Object | None:
    """Of several (a race made them), the one with the lowest value."""
    return min(
        (each for each in review.find(kinds.PRIORITY_CLASS, "") if each.get("globalDefault")), key=lambda each: int(each["value"]), default=None
    )
