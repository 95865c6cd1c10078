"""Kinds that differ from the plain one in a flag or two: nothing but a line in the table."""

from __future__ import annotations

from edgek.model.kinds import Kind
from edgek.server.resources.base import Resource


class Plain(Resource):
    """``counted`` are the members whose change counts a generation; ``strict``: an update must say of which revision it is."""

    def __init__(self, kind: Kind, *counted: str, strict: bool = False) -> None:
        super().__init__(kind)
        self.generation_of = counted
        self.updates_unconditionally = not strict
