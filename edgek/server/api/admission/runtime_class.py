"""RuntimeClass: a pod's runtime class must be there; its overhead and its node constraints become the pod's."""

from __future__ import annotations

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused


class RuntimeClass(Step):
    name = "RuntimeClass"
    about = (kinds.POD,)

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        chosen = _chosen(review, spec)
        if chosen is None:
            return
        overhead = (chosen.get("overhead") or {}).get("podFixed")
        if overhead is not None:
            if spec.get("overhead") not in (None, overhead):
                raise refused(review, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(overhead)
        _constrain(review, spec, chosen.get("scheduling") or {})

    def validate(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.get("spec") or {}
        chosen = _chosen(review, spec)
        if spec.get("overhead") and (chosen or {}).get("overhead") is None:
            raise refused(review, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")


def _chosen(review: Review, spec: Object) -> Object | None:
    name = spec.get("runtimeClassName")
    if not name:
        return None
    found = review.get(kinds.RUNTIME_CLASS, name, "")
    if found is None:
        raise refused(review, f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _constrain(review: Review, spec: Object, scheduling: Object) -> None:
    selector, own = scheduling.get("nodeSelector") or {}, spec.get("nodeSelector") or {}
    for key, value in selector.items():
        if own.get(key, value) != value:
            raise refused(review, f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own[key]}")
    if selector:
        spec["nodeSelector"] = {**own, **selector}
    added = [each for each in scheduling.get("tolerations") or () if each not in (spec.get("tolerations") or ())]
    if added:
        spec["tolerations"] = [*(spec.get("tolerations") or ()), *added]
