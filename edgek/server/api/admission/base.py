"""The admission protocol: steps between decoding and validation that may change an object, refuse it, or warn.

``ADMISSION`` in ``__init__.py`` is the ordered table of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import attrs

from edgek.model.errors import Forbidden
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import User

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@attrs.frozen
class Defaults:
    """What the operator chose, as far as admission fills it in."""

    not_ready_s: int = 300  # that a pod stays on a node which says that it is not ready
    unreachable_s: int = 300  # and on one that says nothing any more


@attrs.define
class Review:
    """One write under review. ``obj`` may be changed in place (None for DELETE); ``old`` may not (None for CREATE).

    ``verb`` is the request's: a patch or an update may turn out to create. ``get`` and ``find`` read other objects, from memory:
    ``get(kind, name, namespace)``, ``find(kind, namespace)``.
    """

    user: User
    operation: Operation
    kind: Kind
    namespace: str
    name: str
    subresource: str
    obj: Object | None
    old: Object | None
    dry_run: bool
    get: Callable[[Kind, str, str], Object | None]
    find: Callable[[Kind, str], Sequence[Object]]
    warnings: list[str] = attrs.field(factory=list)
    verb: str = ""


class AdmissionStep(Protocol):
    """Raises an ``ApiError`` (mostly Forbidden) to refuse. ``admit`` may change the object; ``validate`` sees it when all have."""

    name: str

    def handles(self, review: Review) -> bool: ...

    def admit(self, review: Review) -> None: ...

    def validate(self, review: Review) -> None: ...


class Step:
    """What a step begins as: it changes and refuses nothing. ``handles`` picks by kind, operation and subresource."""

    name = ""
    about: tuple[Kind, ...] = ()
    operations: tuple[Operation, ...] = ("CREATE",)
    subresources: tuple[str, ...] = ("",)

    def __init__(self, authorizer: Authorizer, defaults: Defaults | None = None) -> None:
        self.authorizer = authorizer
        self.defaults = defaults or Defaults()

    def handles(self, review: Review) -> bool:
        return review.operation in self.operations and review.kind in self.about and review.subresource in self.subresources

    def admit(self, review: Review) -> None:
        return None

    def validate(self, review: Review) -> None:
        return None


def refused(review: Review, why: str) -> Forbidden:
    """The 403 of an admission step: ``pods "x" is forbidden: why``."""
    return responses.forbidden(review.kind, review.name, why)
