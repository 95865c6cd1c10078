"""DefaultTolerationSeconds: how long a pod stays on a lost node unless it says otherwise (``model.when_away``, or tolerations of its own).

TaintNodesByCondition: nodes begin as not ready.
"""

from __future__ import annotations

from edgek.model import kinds, objects, when_away
from edgek.model.objects import Object
from edgek.model.when_away import NOT_READY, UNREACHABLE, WhenAway
from edgek.server.api.admission.base import Review, Step

DEFAULT_GRACE_S = 30


class DefaultTolerationSeconds(Step):
    name = "DefaultTolerationSeconds"
    about = (kinds.POD,)
    operations = ("CREATE", "UPDATE")

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        tolerations = spec.get("tolerations") or []
        said = when_away.of(objects.annotations(review.obj)) or WhenAway("replace")
        added = []
        for key, otherwise in ((NOT_READY, self.defaults.not_ready_s), (UNREACHABLE, self.defaults.unreachable_s)):
            if not any(_tolerates(each, key) for each in tolerations):
                added.append(_toleration(key, said.tolerated_s(key, _grace_s(spec), otherwise)))
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


def _toleration(key: str, seconds: float | None) -> Object:
    time = {} if seconds is None else {"tolerationSeconds": int(seconds)}
    return {"key": key, "operator": "Exists", "effect": "NoExecute", **time}


def _grace_s(spec: Object) -> float:
    asked = spec.get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_S if asked is None else max(0.0, float(asked))


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (key, "", None) and toleration.get("effect") in ("NoExecute", "", None)
