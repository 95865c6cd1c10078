"""What is special about a kind: the Resource, and the plain one that most kinds are.

A Resource is called by ``server/api`` on the way of a write and holds no state of its own. Everything here works on plain dicts and returns
problems instead of raising, so that one answer can name them all. Structural checks (unknown fields, types) and schema defaults were made
before, by ``model.schema``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from edgek.model import objects
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object

PropagationPolicy = Literal["Background", "Foreground", "Orphan"]


@attrs.frozen
class FieldError:
    """One reason why an object is invalid: ``spec.replicas: Invalid value: -1: must be greater than or equal to 0``.

    ``reason`` is upstream's cause (``FieldValueInvalid`` ...), ``detail`` is the text after the field.
    """

    field: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"

    def cause(self) -> Cause:
        return Cause(self.reason, self.detail, self.field)


class Resource:
    """The plain kind: no defaults of its own, no rules beyond metadata. Subclasses override what differs.

    ``subresource`` is empty for the object itself.
    """

    # PUT to a missing object creates it (leases, endpoints, RBAC kinds ...).
    creates_on_update = False
    # PUT without resourceVersion overwrites; where False it is 422.
    updates_unconditionally = True
    default_propagation: PropagationPolicy = "Background"

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def default(self, obj: Object) -> None:
        """Fill in what the client left out, in place, beyond the schema's defaults. Runs on every write, before admission."""

    def prepare_create(self, obj: Object) -> None:
        """Drop what a client may not set at creation (status), set what the server sets (generation, phase)."""
        if self.kind.subresource("status"):
            obj.pop("status", None)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        """Put back what this update may not change, and count ``metadata.generation``."""
        if subresource == "status":
            keep_all_but_status(obj, old)
        elif self.kind.subresource("status"):
            keep_member(obj, old, "status")

    def validate(self, obj: Object) -> Sequence[FieldError]:
        """Problems of a new object. Metadata was checked by the caller (name by ``validate_name``)."""
        return ()

    def validate_name(self, name: str, *, prefix: bool = False) -> Sequence[str]:
        """Problems with a name (or, with ``prefix``, a generateName) of this kind; DNS-1123 subdomain unless overridden."""
        return ()

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        return self.validate(obj)

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Texts for ``Warning`` headers."""
        return ()

    def fields(self, obj: Object) -> Mapping[str, str]:
        """The selectable fields beyond metadata.name and metadata.namespace. Every selectable field of the kind is always there."""
        return {}

    def grace_s(self, obj: Object, asked: int | None) -> int:
        """Seconds between a delete and the end; 0 for kinds that go at once."""
        return 0


def keep_member(obj: Object, old: Object, member: str) -> None:
    """Whatever the request says of this top-level member, keep the old one."""
    if member in old:
        obj[member] = old[member]
    else:
        obj.pop(member, None)


def keep_all_but_status(obj: Object, old: Object) -> None:
    """A /status update: everything but status and metadata stays as it was."""
    for member in {*obj, *old} - {"status", "metadata", "apiVersion", "kind"}:
        keep_member(obj, old, member)


def count_generation(obj: Object, old: Object, *members: str) -> None:
    """``metadata.generation`` is the old one, plus one where one of ``members`` changed."""
    changed = any(obj.get(member) != old.get(member) for member in members or ("spec",))
    before: Any = objects.metadata(old).get("generation", 0)
    objects.metadata(obj)["generation"] = before + 1 if changed else before
