"""What a Go struct of the Kubernetes API looks like: its fields, how they print, merge and travel in protobuf.

The facts come from the packed ``types`` (``packed.py``). A struct is compiled when it is first asked for; a process that only ever sees Pods never
looks at the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import orjson

from edgek.model import packed
from edgek.model.kinds import Kind

_POINTER, _OMITEMPTY, _OMITZERO = 1, 2, 4

OBJECT_META = "meta/v1.ObjectMeta"
# One JSON value, several shapes: in protobuf a message with a member per shape, in JSON the bare value.
UNIONS = frozenset(f"apiextensions/v1.JSONSchemaPropsOr{name}" for name in ("Array", "Bool", "StringArray"))
UNION_SCHEMA = "apiextensions/v1.JSONSchemaProps"


@attrs.frozen(eq=False)
class Field:
    """One member of a struct. ``base`` is a scalar's name or a struct's; ``many`` says whether a list or a map of it.

    ``inlined`` fields have no name of their own: the members of their struct stand among those of the outer one, except in protobuf.
    """

    name: str
    number: int
    base: str
    many: Literal["", "[]", "map:"] = ""
    inlined: bool = False
    pointer: bool = False
    omitempty: bool = False
    omitzero: bool = False
    merge_key: str = ""
    strategies: tuple[str, ...] = ()
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    default: Any = None

    @functools.cached_property
    def struct(self) -> Struct | None:
        """What ``base`` is made of, or None for a scalar."""
        return None if "/" not in self.base else named(self.base)

    @property
    def merges(self) -> bool:
        """Whether a strategic merge patch merges this list instead of replacing it."""
        return "merge" in self.strategies

    @functools.cached_property
    def always_printed(self) -> bool:
        """Go prints it even when it was never set: no omitempty, or a struct by value, which omitempty does not concern."""
        if self.omitzero or self.inlined:
            return False
        if self.pointer:
            return not self.omitempty
        return not self.omitempty or (not self.many and self.is_go_struct)

    @functools.cached_property
    def is_go_struct(self) -> bool:
        return "/" in self.base or self.base in ("Time", "MicroTime", "Quantity", "IntOrString", "Raw")

    @functools.cached_property
    def go_type(self) -> str:
        """As Go's JSON errors name it: ``int32``, ``[]v1.Container``, ``map[string]string``."""
        if self.many == "map:" and self.base == "Quantity":
            return "v1.ResourceList"
        prefix = {"": "", "[]": "[]", "map:": "map[string]"}[self.many]
        names = {"bytes": "[]uint8", "double": "float64", "Time": "string", "MicroTime": "string", "IntOrString": "int32"}
        return prefix + names.get(self.base, self.base.rpartition("/")[2])

    @functools.cached_property
    def element(self) -> Field:
        """One item of a list or map, as a field of its own."""
        return attrs.evolve(self, many="", pointer=False, omitempty=False)


@attrs.frozen(eq=False)
class Struct:
    """``fields`` by JSON name, inlined ones flattened; ``wire`` by protobuf number, not flattened. ``is_kind``: it carries apiVersion and kind."""

    name: str
    fields: Mapping[str, Field]
    wire: Mapping[int, Field]
    map_type: str = ""
    is_kind: bool = False

    @property
    def go_name(self) -> str:
        return self.name.rpartition(".")[2]

    @functools.cached_property
    def always_printed(self) -> tuple[Field, ...]:
        return tuple(field for field in self.fields.values() if field.always_printed)

    @functools.cached_property
    def defaulted(self) -> tuple[Field, ...]:
        return tuple(field for field in self.fields.values() if field.default is not None)


TYPE_META = {name: Field(name, 0, "string", omitempty=True) for name in ("apiVersion", "kind")}


@functools.cache
def _sources() -> dict[str, bytes]:
    return packed.structs()


def of_kind(kind: Kind) -> Struct | None:
    """The struct of a built-in kind, or None for a custom one."""
    return root(kind.group, kind.version, kind.name)


@functools.lru_cache(maxsize=512)  # bounded: requests may ask for any name
def root(group: str, version: str, kind: str) -> Struct | None:
    """The struct of an object, list or option that names itself so. Options carry the group of the resource they are for."""
    package = group.partition(".")[0] or "core"
    for name in (f"{package}/{version}.{kind}", f"meta/v1.{kind}"):
        if name in _sources():
            struct = named(name)
            return struct if struct.is_kind else attrs.evolve(struct, fields={**TYPE_META, **struct.fields}, is_kind=True)
    return None


@functools.cache
def named(name: str) -> Struct:
    """By package, version and name: ``core/v1.PodSpec``. Raises KeyError."""
    fields: dict[str, Field] = {}
    wire: dict[int, Field] = {}
    whole: dict[str, Any] = {}
    for row in orjson.loads(_sources()[name]):
        if not row[0]:
            whole = row[4]
            continue
        field = _field(*row)
        wire[field.number] = field
        if field.inlined:
            fields.update(named(field.base).fields)
        else:
            fields[field.name] = field
    is_kind = bool(whole.get("g"))
    return Struct(name, {**TYPE_META, **fields} if is_kind else fields, wire, whole.get("t", ""), is_kind)


def _field(number: int, name: str | None, type_: str, flags: int, extras: Mapping[str, Any] = {}) -> Field:
    many: Literal["", "[]", "map:"] = "[]" if type_.startswith("[]") else "map:" if type_.startswith("map:") else ""
    return Field(
        name or "",
        number,
        type_[len(many) :],
        many,
        name is None,
        bool(flags & _POINTER),
        bool(flags & _OMITEMPTY),
        bool(flags & _OMITZERO),
        extras.get("k", ""),
        tuple(extras["s"].split(",")) if "s" in extras else (),
        extras.get("l", ""),
        tuple(extras.get("m", ())),
        extras.get("t", ""),
        extras.get("d"),
    )
