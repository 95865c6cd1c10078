"""DefaultIngressClass: an Ingress that names no class gets the one that is marked as default."""

from __future__ import annotations

from edgek.model import kinds, objects
from edgek.server.api.admission.base import Review, Step
from edgek.server.api.admission.storage import newest_default

IS_DEFAULT = ("ingressclass.kubernetes.io/is-default-class",)
CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass(Step):
    name = "DefaultIngressClass"
    about = (kinds.INGRESS,)

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or CLASS_ANNOTATION in objects.annotations(review.obj):
            return
        default = newest_default(review.find(kinds.INGRESS_CLASS, ""), IS_DEFAULT)
        if default:
            spec["ingressClassName"] = default
