"""What an update may change in a pod, which is little: images, deadlines, tolerations, and a gated pod's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.server.resources.validation.fields import SPEC, Errors, Path
from edgek.server.resources.validation.goview import difference
from edgek.server.resources.validation.values import MAX_INT32, check_in_range

REFUSED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)
_ADDED_OR_REMOVED = "pod updates may not add or remove containers"

Spec = Mapping[str, Any]


def check_pod_update(errors: Errors, new: Spec, old: Spec) -> None:
    for kind in ("containers", "initContainers"):
        if not _check_images(errors, SPEC / kind, new.get(kind) or (), old.get(kind) or ()):
            return
    if not _check_deadline(errors, new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")):
        return
    _check_tolerations(errors, new.get("tolerations") or (), old.get("tolerations") or ())
    _check_gates(errors, new, old)
    allowed = _with_allowed_changes_undone(new, old)
    if _meaning(allowed) != _meaning(old):
        errors.forbidden(SPEC, f"{REFUSED}\n{difference('PodSpec', old, allowed)}")


def check_ephemeral_update(errors: Errors, new: Spec, old: Spec) -> None:
    """Ephemeral containers can be added, not changed or removed."""
    added = {container.get("name"): container for container in new.get("ephemeralContainers") or ()}
    for container in old.get("ephemeralContainers") or ():
        name, at = container.get("name"), SPEC / "ephemeralContainers"
        if name not in added:
            errors.forbidden(at, f'existing ephemeral containers "{name}" may not be removed\n')
        elif added[name] != container:
            shown = difference("EphemeralContainer", container, added[name])
            errors.forbidden(at, f'existing ephemeral containers "{name}" may not be changed\n{shown}')


def _check_images(errors: Errors, at: Path, new: Sequence[Spec], old: Sequence[Spec]) -> bool:
    """Whether there is a point in looking further."""
    if len(new) != len(old):
        errors.forbidden(at, _ADDED_OR_REMOVED)
        return False
    for index, container in enumerate(new):
        if not (container.get("image") or "").strip():
            errors.required(at[index] / "image")
    return True


def _check_deadline(errors: Errors, new: int | None, old: int | None) -> bool:
    """A deadline can be set or brought forward. Whether there is a point in looking further."""
    at, before = SPEC / "activeDeadlineSeconds", len(errors)
    if new is not None:
        check_in_range(errors, at, new, 0, MAX_INT32)
        if old is not None and old < new:
            errors.invalid(at, new, "must be less than or equal to previous value")
    elif old is not None:
        errors.invalid(at, None, "must not update from a positive integer to nil value")
    return len(errors) == before


def _check_tolerations(errors: Errors, new: Sequence[Spec], old: Sequence[Spec]) -> None:
    def identity(toleration: Spec) -> frozenset[tuple[str, Any]]:
        return frozenset((name, value) for name, value in toleration.items() if name != "tolerationSeconds" and value)

    kept = set(map(identity, new))
    if any(identity(toleration) not in kept for toleration in old):
        errors.forbidden(SPEC / "tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _check_gates(errors: Errors, new: Spec, old: Spec) -> None:
    before = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    for index, gate in enumerate(new.get("schedulingGates") or ()):
        if gate.get("name") not in before:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            errors.forbidden((SPEC / "schedulingGates")[index], detail)


def _with_allowed_changes_undone(new: Spec, old: Spec) -> dict[str, Any]:
    """``new`` as it would be had only the rest been changed."""
    undone = dict(new)
    for kind in ("containers", "initContainers"):
        if new.get(kind):
            undone[kind] = [{**mine, "image": theirs.get("image")} for mine, theirs in zip(new[kind], old.get(kind) or (), strict=False)]
    keep = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if old.get("schedulingGates"):
        # A pod that may not be scheduled yet may still be told where to go, as long as it asks for no less.
        keep += [name for name in ("nodeSelector", "affinity") if _only_narrows(name, new, old)]
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and new.get("terminationGracePeriodSeconds") == 1:
        keep.append("terminationGracePeriodSeconds")
    for name in keep:
        undone[name] = old.get(name)
    return undone


def _only_narrows(name: str, new: Spec, old: Spec) -> bool:
    if name == "nodeSelector":
        return (old.get(name) or {}).items() <= (new.get(name) or {}).items()
    return _required_terms(new)[: len(_required_terms(old))] == _required_terms(old) or not _required_terms(old)


def _required_terms(spec: Spec) -> list[Any]:
    nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = nodes.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return list(required.get("nodeSelectorTerms") or ())


def _meaning(spec: Spec) -> dict[str, Any]:
    """Absent, null, empty, false: all the same here."""
    return {name: value for name, value in spec.items() if value}
