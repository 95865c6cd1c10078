"""The RESOURCES table: the kinds with rules of their own. Every other kind is a plain ``Resource``.

How to add one: a subclass of ``Resource`` in a module named for it, a line in ``RESOURCES``, a test beside it (``server/README.md``).
"""

from __future__ import annotations

from edgek.model.kinds import Kind
from edgek.server.resources.base import FieldError, Resource

RESOURCES: tuple[Resource, ...] = ()

_BY_KIND = {resource.kind: resource for resource in RESOURCES}

__all__ = ["RESOURCES", "FieldError", "Resource", "of"]


def of(kind: Kind) -> Resource:
    """What is special about ``kind``."""
    return _BY_KIND.get(kind) or Resource(kind)
