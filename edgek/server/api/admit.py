"""Take a write through the admission table: first everything that may change the object, later everything that may only refuse it."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.admission.base import AdmissionStep, Operation, Review
from edgek.server.api.call import Call
from edgek.server.api.storage import Objects


class Gate:
    """``steps`` in order."""

    def __init__(self, store: Objects, steps: Sequence[AdmissionStep]) -> None:
        self._store = store
        self._steps = steps

    def review(self, call: Call, operation: Operation, obj: Object | None, old: Object | None, *, dry_run: bool, kind: Kind | None = None) -> Review:
        name = call.name or objects.name(obj or {})
        return Review(
            call.user,
            operation,
            kind or call.kind,
            call.namespace,
            name,
            call.subresource,
            obj,
            old,
            dry_run,
            self._store.get,
            self._store.find,
            call.warnings,
            call.verb,
        )

    def admit(self, review: Review) -> None:
        for step in self._steps:
            if step.handles(review):
                step.admit(review)

    def validate(self, review: Review) -> None:
        for step in self._steps:
            if step.handles(review):
                step.validate(review)
