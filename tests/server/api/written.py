"""Put objects into a store as the API would have written them."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import orjson

from edgek.model import objects
from edgek.model.kinds import POD, Kind
from edgek.server.store.backend import Backend, Draft, Key

_uids = itertools.count(1)


def key(kind: Kind, name: str, namespace: str = "") -> Key:
    return Key(kind.storage, namespace if kind.namespaced else "", name)


async def put(backend: Backend, kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """Create it, or replace what is there; gives back what is stored."""
    obj = {"apiVersion": kind.api_version, "kind": kind.name, **copy.deepcopy(obj)}
    where = key(kind, objects.name(obj), objects.namespace(obj))
    before = backend.get(where)
    meta = objects.metadata(obj)
    meta.setdefault("uid", before.uid if before else f"uid-{next(_uids)}")
    fields = {"spec.nodeName": (obj.get("spec") or {}).get("nodeName", "")} if kind == POD else {}

    def encode(revision: int) -> bytes:
        meta["resourceVersion"] = str(revision)
        return orjson.dumps(obj)

    draft = Draft(meta["uid"], objects.labels(obj), fields, encode)
    if before is None:
        await backend.create(where, draft)
    else:
        await backend.update(where, draft, expected=before.revision)
    return obj


async def remove(backend: Backend, kind: Kind, name: str, namespace: str = "") -> None:
    record = backend.get(key(kind, name, namespace))
    assert record is not None
    await backend.delete(record.key, Draft(record.uid, record.labels, record.fields, lambda _: record.body), expected=record.revision)
