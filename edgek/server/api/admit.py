"""Take a write through the admission table: first everything that may change the object, later everything that may only refuse it."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.admission.base import AdmissionStep, Operation, Review, Step
from edgek.server.api.call import Call
from edgek.server.api.storage import Objects

REMEMBERED = 1024  # subjects: every built-in kind's, and room for many custom ones


class Gate:
    """``steps`` in order."""

    def __init__(self, store: Objects, steps: Sequence[AdmissionStep]) -> None:
        self._store = store
        self._steps = steps
        self._possible: dict[tuple[Operation, Kind, str], tuple[AdmissionStep, ...]] = {}

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
        for step in self._concerned(review):
            if step.handles(review):
                step.admit(review)

    def validate(self, review: Review) -> None:
        for step in self._concerned(review):
            if step.handles(review):
                step.validate(review)

    def _concerned(self, review: Review) -> Sequence[AdmissionStep]:
        """Without the steps that this operation on this kind never concerns: most of them, and they need to be asked only once."""
        subject = (review.operation, review.kind, review.subresource)
        found = self._possible.get(subject)
        if found is None:
            if len(self._possible) >= REMEMBERED:
                self._possible.clear()
            found = self._possible[subject] = tuple(step for step in self._steps if not _goes_by_subject(step) or step.handles(review))
        return found


def _goes_by_subject(step: AdmissionStep) -> bool:
    """Whether operation, kind and subresource alone decide if it handles a review."""
    return getattr(type(step), "handles", None) is Step.handles
