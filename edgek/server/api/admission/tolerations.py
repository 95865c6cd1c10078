"""DefaultTolerationSeconds: a pod stays five minutes on a lost node unless it says otherwise. TaintNodesByCondition: nodes begin as not ready."""

from __future__ import annotations

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
DEFAULT_S = 300


class DefaultTolerationSeconds(Step):
    name = "DefaultTolerationSeconds"
    about = (kinds.POD,)
    operations = ("CREATE", "UPDATE")

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        tolerations = spec.get("tolerations") or []
        missing = [key for key in (NOT_READY, UNREACHABLE) if not any(_tolerates(each, key) for each in tolerations)]
        added = [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_S} for key in missing]
        if added:
            spec["tolerations"] = [*tolerations, *added]


class TaintNodesByCondition(Step):
    name = "TaintNodesByCondition"
    about = (kinds.NODE,)

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (key, "", None) and toleration.get("effect") in ("NoExecute", "", None)
