"""The admission protocol: steps between decoding and validation that may change an object, refuse it, or warn.

``ADMISSION`` in ``__init__.py`` is the ordered table of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import attrs

from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.identity import User

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@attrs.define
class Review:
    """One write under review. ``obj`` may be changed in place (None for DELETE); ``old`` may not (None for CREATE).

    ``get`` and ``find`` read other objects, from memory: ``get(kind, name, namespace)``, ``find(kind, namespace)``.
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


class AdmissionStep(Protocol):
    """Raises an ``ApiError`` (mostly Forbidden) to refuse. ``admit`` may change the object; ``validate`` sees it when all have."""

    name: str

    def handles(self, review: Review) -> bool: ...

    def admit(self, review: Review) -> None: ...

    def validate(self, review: Review) -> None: ...
