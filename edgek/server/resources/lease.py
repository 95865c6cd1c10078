"""Leases: who holds what, for how long."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError


class Lease(Resource):
    creates_on_update = True
    updates_unconditionally = False

    def __init__(self) -> None:
        super().__init__(kinds.LEASE)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        spec = obj.get("spec") or {}
        errors.positive(SPEC / "leaseDurationSeconds", spec.get("leaseDurationSeconds"))
        errors.non_negative(SPEC / "leaseTransitions", spec.get("leaseTransitions"))
        if spec.get("strategy") is not None and not spec["strategy"]:
            errors.invalid(SPEC / "strategy", spec["strategy"], "must not be empty")
        if spec.get("preferredHolder") and not spec.get("strategy"):
            errors.forbidden(SPEC / "preferredHolder", "may only be specified if `strategy` is defined")
        return errors.found
