"""Namespaces and nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource, keep_member
from edgek.server.resources.metadata import NAMELESS_FINALIZER, STANDARD_FINALIZERS
from edgek.server.resources.validation import names
from edgek.server.resources.validation.affinity import TAINT_EFFECTS
from edgek.server.resources.validation.compute import check_amounts
from edgek.server.resources.validation.fields import METADATA, SPEC, STATUS, Errors, FieldError, items
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.values import round_up_to_millis

NAME_LABEL = "kubernetes.io/metadata.name"
NAMESPACE_FINALIZER = "kubernetes"


class Namespace(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.NAMESPACE)

    def name_problems(self, name: str) -> Sequence[str]:
        return names.dns_label(name)

    def default(self, obj: Object) -> None:
        # The label cannot be taken away or changed: selectors rely on it.
        if objects.name(obj):
            meta = objects.metadata(obj)
            meta["labels"] = (meta.get("labels") or {}) | {NAME_LABEL: objects.name(obj)}

    def prepare_create(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        finalizers = spec.get("finalizers") or []
        if NAMESPACE_FINALIZER not in finalizers:
            finalizers = [*finalizers, NAMESPACE_FINALIZER]
        obj["spec"] = spec | {"finalizers": finalizers}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        match subresource:
            case "finalize":
                keep_member(obj, old, "status")
            case "status":
                keep_member(obj, old, "spec")
            case _:
                keep_member(obj, old, "spec")
                keep_member(obj, old, "status")

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        for finalizer in (obj.get("spec") or {}).get("finalizers") or ():
            errors.invalid_each(SPEC / "finalizers", finalizer, names.qualified_name(finalizer))
            if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
                errors.invalid(SPEC / "finalizers", finalizer, NAMELESS_FINALIZER)
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        # Upstream also answers to the bare ``name``.
        return {"status.phase": (obj.get("status") or {}).get("phase") or "", "name": objects.name(obj)}


class Node(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.NODE)

    def default(self, obj: Object) -> None:
        status = obj.setdefault("status", {})
        # A node that does not say what pods may use lets them use all of it.
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])
        for member in ("capacity", "allocatable"):
            round_up_to_millis(status.get(member))

    def prepare_create(self, obj: Object) -> None:
        """A node's status may come with it: kubelets register that way."""

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        keep_member(obj, old, "spec" if subresource == "status" else "status")

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_node(errors, obj)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        _check_node(errors, obj)
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        if before.get("podCIDRs") and (new.get("podCIDRs") or []) != before["podCIDRs"]:
            errors.forbidden(SPEC / "podCIDRs", "node updates may not change podCIDR except from [] to valid")
        if before.get("providerID") and new.get("providerID") != before["providerID"]:
            errors.forbidden(SPEC / "providerID", 'node updates may not change providerID except from "" to valid')
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"spec.unschedulable": "true" if (obj.get("spec") or {}).get("unschedulable") else "false"}


def _check_node(errors: Errors, node: Object) -> None:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    _check_taints(errors, spec)
    for index, cidr in enumerate(spec.get("podCIDRs") or ()):
        errors.invalid_each((SPEC / "podCIDRs")[index], cidr, names.cidr(cidr))
    if len(spec.get("podCIDRs") or ()) > 2:
        errors.invalid(SPEC / "podCIDRs", spec["podCIDRs"], "must be a valid list of one or two CIDRs")
    for member in ("capacity", "allocatable"):
        check_amounts(errors, STATUS / member, status.get(member), dotted=True)
    seen: list[Mapping[str, Any]] = []
    for place, address in items(status, "addresses", STATUS):
        if address in seen:
            errors.duplicate(place, address)
        seen.append(address)


def _check_taints(errors: Errors, spec: Mapping[str, Any]) -> None:
    """Upstream reports them below ``metadata``, where taints once stood as an annotation."""
    seen: set[tuple[str, str]] = set()
    for place, taint in items(spec, "taints", METADATA):
        key, effect, value = (taint.get(name) or "" for name in ("key", "effect", "value"))
        errors.invalid_each(place / "key", key, names.qualified_name(key))
        problems = names.label_value(value)
        if problems:
            errors.invalid(place / "value", value, ";".join(problems))
        if effect:
            errors.choice(place / "effect", effect, TAINT_EFFECTS)
        else:
            errors.required(place / "effect")
        if (key, effect) in seen:
            errors.duplicate(place, dumped("Taint", taint), "taints must be unique by key and effect pair")
        seen.add((key, effect))
