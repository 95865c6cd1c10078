"""What is special about a kind: the Resource, and the plain one that most kinds are.

A Resource is called by ``server/api`` on the way of a write and holds no state of its own. Everything here works on plain dicts and returns
problems instead of raising, so that one answer can name them all. Structural checks (unknown fields, types) and schema defaults were made
before, by ``model.schema``.

The way of a write: ``default`` → ``prepare_create`` or ``prepare_update`` → admission → ``problems`` → ``allocate`` → ``fields`` → the store.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from edgek.model import objects, schema
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.resources import metadata
from edgek.server.resources.allocators import Allocators
from edgek.server.resources.validation.fields import FieldError
from edgek.server.resources.validation.names import dns_subdomain

__all__ = ["FieldError", "PropagationPolicy", "Resource", "count_generation", "keep_all_but_status", "keep_member"]

PropagationPolicy = Literal["Background", "Foreground", "Orphan"]


class Resource:
    """The plain kind: no defaults of its own, no rules beyond metadata. Subclasses override what differs.

    ``subresource`` is empty for the object itself.
    """

    # PUT to a missing object creates it (leases, endpoints, RBAC kinds ...).
    creates_on_update: ClassVar[bool] = False
    # PUT without resourceVersion overwrites; where False it is 422.
    updates_unconditionally: bool = True
    default_propagation: ClassVar[PropagationPolicy] = "Background"
    # Told with every answer, whatever was asked of the kind.
    deprecated: ClassVar[tuple[str, ...]] = ()
    # The members whose change counts ``metadata.generation``; a kind without them has no generation.
    generation_of: tuple[str, ...] = ()

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def default(self, obj: Object) -> None:
        """Fill in what the client left out, in place, beyond the schema's defaults. Runs on every write, before admission."""

    def prepare_create(self, obj: Object) -> None:
        """Drop what a client may not set at creation (status), set what the server sets (generation, phase)."""
        if self.kind.subresource("status"):
            obj.pop("status", None)
            if (first := _first_status(self.kind)) is not None:
                obj["status"] = copy.deepcopy(first)
        if self.generation_of:
            objects.metadata(obj)["generation"] = 1

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        """Put back what this update may not change, and count ``metadata.generation``."""
        if subresource == "status":
            keep_all_but_status(obj, old)
        elif self.kind.subresource("status"):
            keep_member(obj, old, "status")
        if self.generation_of:
            count_generation(obj, old, *self.generation_of)

    def problems(self, obj: Object, old: Object | None = None, subresource: str = "") -> list[FieldError]:
        """All that is wrong with a new object (no ``old``) or an update, metadata first: the causes of a 422 in upstream's order."""
        if old is None:
            return [*metadata.validate(obj, self.kind, self.validate_name), *self.validate(obj)]
        return [*metadata.validate_update(obj, old), *self.validate_update(obj, old, subresource)]

    def validate(self, obj: Object) -> Sequence[FieldError]:
        """Problems of a new object beyond its metadata."""
        return ()

    def validate_name(self, name: str, *, prefix: bool = False) -> Sequence[str]:
        """Problems with a name (or, with ``prefix``, a generateName) of this kind."""
        # A dash may end a prefix, since five more characters follow.
        return self.name_problems(name[:-1] + "a" if prefix and name.endswith("-") else name)

    def name_problems(self, name: str) -> Sequence[str]:
        """What a name of this kind must look like: a DNS-1123 subdomain unless overridden."""
        return dns_subdomain(name)

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        """Problems of an update beyond metadata. A status update is not held against the rules of the spec."""
        return () if subresource == "status" else self.validate(obj)

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Texts for ``Warning`` headers."""
        return ()

    def fields(self, obj: Object) -> Mapping[str, str]:
        """The selectable fields beyond metadata.name and metadata.namespace. Every selectable field of the kind is always there."""
        return {}

    def grace_s(self, obj: Object, asked: int | None) -> int:
        """Seconds between a delete and the end; 0 for kinds that go at once."""
        return 0

    def allocate(self, obj: Object, old: Object | None, allocators: Allocators) -> Sequence[FieldError]:
        """Take from ``allocators`` what the object needs (addresses, ports) and write it into the object. Taken: nothing, if there are problems.

        Runs after validation, and not at all for kinds that need nothing. If the write then fails, or is a dry run, ``release(obj, old)`` undoes it.
        """
        return ()

    def release(self, obj: Object, kept: Object | None, allocators: Allocators) -> None:
        """Give back what ``obj`` holds and ``kept`` does not: ``(new, old)`` after a failed write, ``(old, new)`` after an update, ``(old, None)``
        after a deletion.
        """


@functools.cache
def _first_status(kind: Kind) -> Any:
    """What an absent status prints as: some counts begin as zero, and most statuses as the empty object."""
    blank: Object = {}
    schema.normalise(kind, blank)
    schema.apply_defaults(kind, blank)
    return blank.get("status")


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
