"""DefaultIngressClass: an Ingress that names no class gets the one that is marked as default."""

from __future__ import annotations

from edgek.model import default_class, kinds, objects
from edgek.server.api.admission.base import Review, Step

CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass(Step):
    name = "DefaultIngressClass"
    about = (kinds.INGRESS,)

    def admit(self, review: Review) -> None:
        assert review.obj is not None
        spec = review.obj.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or CLASS_ANNOTATION in objects.annotations(review.obj):
            return
        default = default_class.newest_default(review.find(kinds.INGRESS_CLASS, ""), default_class.INGRESS)
        if default:
            spec["ingressClassName"] = default
