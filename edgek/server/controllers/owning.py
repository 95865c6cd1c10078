"""Which objects belong to a controller object: adopt what matches and has no controller, release what no longer matches.

Ownership is the owner reference with ``controller: true``; the selector decides only about those without one. Both writes name the uid of the
object they mean, so they cannot hit a namesake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import attrs

from edgek.client.client import STRATEGIC_MERGE_PATCH
from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import errors, objects, selectors
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.selectors import LabelSelector
from edgek.server.controllers.views import PodView

V = TypeVar("V")


class Dependent(Protocol):
    """What claiming must know of an object, whatever its view is. A PodView is one."""

    @property
    def key(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def owner_uid(self) -> str: ...
    @property
    def deleting(self) -> bool: ...


@attrs.frozen
class _Described:
    key: str
    uid: str
    labels: Mapping[str, str]
    owner_uid: str
    deleting: bool


def of_pod(view: PodView) -> Dependent:
    return view


def of_object(obj: Object) -> Dependent:
    owner = objects.controller_of(obj) or {}
    return _Described(objects.key(obj), objects.uid(obj), objects.labels(obj), owner.get("uid", ""), objects.is_deleting(obj))


@attrs.frozen
class Claim:
    """``owner``, of ``kind``, claims objects in the cache ``informer``; ``metadata`` is added to what it adopts, ``released`` to what it lets go."""

    cluster: Cluster
    informer: Informer[Any]
    kind: Kind
    owner: Object
    selector: LabelSelector
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    released: Mapping[str, Any] = attrs.field(factory=dict)

    async def of(self, candidates: Iterable[V], describe: Callable[[V], Dependent]) -> list[V]:
        """Those that belong to the owner, as the cache shows them once adoptions and releases are done."""
        kept: list[V] = []
        may_adopt: bool | None = None
        for each in candidates:
            dependent = describe(each)
            verdict = self._verdict(dependent)
            if verdict == "keep":
                kept.append(each)
            elif verdict == "release":
                await self._release(dependent)
            elif verdict == "adopt":
                if may_adopt is None:
                    may_adopt = await self._still_there()
                if may_adopt and await self._adopt(dependent):
                    kept.append(self.informer.get(dependent.key) or each)
        return kept

    def _verdict(self, dependent: Dependent) -> str:
        fits = self.selector.matches(dependent.labels)
        if dependent.owner_uid:
            if dependent.owner_uid != objects.uid(self.owner):
                return "ignore"
            if fits:
                return "keep"
            return "ignore" if objects.is_deleting(self.owner) else "release"
        if objects.is_deleting(self.owner) or not fits or dependent.deleting:
            return "ignore"
        return "adopt"

    async def _still_there(self) -> bool:
        """The cache may lag behind a deletion of the owner; an object adopted then would be collected as garbage."""
        fresh = await self.cluster.client.find(self.kind, objects.name(self.owner), objects.namespace(self.owner))
        return fresh is not None and objects.uid(fresh) == objects.uid(self.owner) and not objects.is_deleting(fresh)

    async def _adopt(self, dependent: Dependent) -> bool:
        reference = objects.controller_reference(self.owner, self.kind.api_version, self.kind.name)
        return await self._write(dependent, {"ownerReferences": [reference], **self.metadata})

    async def _release(self, dependent: Dependent) -> None:
        gone = {"$patch": "delete", "uid": objects.uid(self.owner)}
        await self._write(dependent, {"ownerReferences": [gone], **self.released})

    async def _write(self, dependent: Dependent, metadata: Mapping[str, Any]) -> bool:
        patch = {"metadata": {"uid": dependent.uid, **metadata}}
        try:
            await self.cluster.patch(self.informer, dependent.key, patch, content_type=STRATEGIC_MERGE_PATCH)
        except (errors.NotFound, errors.Invalid):
            return False  # gone, or another one of that name: nothing to claim
        return True


def selector_of(obj: Object) -> LabelSelector:
    """``spec.selector``; one that cannot be read selects nothing."""
    try:
        return selectors.of_dict((obj.get("spec") or {}).get("selector"))
    except selectors.SelectorError:
        return selectors.NOTHING


def controller_key(obj: Object, kind: Kind) -> str:
    """The key of the object's controller if that is of this kind, else empty."""
    owner = objects.controller_of(obj) or {}
    if owner.get("kind") != kind.name or not str(owner.get("apiVersion", "")).startswith(kind.group):
        return ""
    return f"{objects.namespace(obj)}/{owner['name']}"


def controller_index(obj: Object) -> tuple[str, ...]:
    """The uid of an object's controller; for one without, ``orphan/`` and its namespace."""
    owner = objects.controller_of(obj)
    return (owner["uid"] if owner else f"orphan/{objects.namespace(obj)}",)


def object_namespace_index(obj: Object) -> tuple[str, ...]:
    return (objects.namespace(obj),)
