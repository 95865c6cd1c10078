"""The scale subresource: how many replicas, for whoever scales without knowing the kind."""

from __future__ import annotations

import attrs

from edgek.model import errors, selectors
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import decode, options, patch, responses
from edgek.server.api.call import Call
from edgek.server.api.storage import Objects
from edgek.server.api.write import Writer
from edgek.server.store.backend import Record

SCALE = Kind("autoscaling", "v1", "Scale", "")


def scale_of(obj: Object) -> Object:
    """What /scale shows of an object."""
    meta = obj["metadata"]
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    replicas = spec.get("replicas") or 0
    shown = {"replicas": status.get("replicas") or 0}
    selector = _selector_text(spec.get("selector"))
    return {
        "kind": SCALE.name,
        "apiVersion": SCALE.api_version,
        "metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if key in meta},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {**shown, "selector": selector} if selector else shown,
    }


def _selector_text(selector: Object | None) -> str:
    """A workload's selector as text; a ReplicationController's is a plain map of labels."""
    if not selector:
        return ""
    if {"matchLabels", "matchExpressions"} & set(selector):
        return str(selectors.of_dict(selector))
    return str(selectors.of_labels(selector))


class Scales:
    def __init__(self, store: Objects, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def get(self, call: Call) -> Object:
        obj = self._store.get(call.kind, call.name, call.namespace)
        if obj is None:
            raise responses.not_found(call.kind, call.name)
        return scale_of(obj)

    async def change(self, call: Call) -> Object:
        """PUT and PATCH: only ``spec.replicas`` counts, and the revision if one is named."""
        chosen = options.write_options(call.request, "Patch" if call.verb == "patch" else "Update")
        sent = decode.body(call, SCALE, chosen) if call.verb == "update" else None

        def make(old: Object) -> Object:
            wanted = sent if sent is not None else _patched_scale(call, scale_of(old))
            meta = wanted.get("metadata") or {}
            if meta.get("name") != call.name:
                raise errors.BadRequest(f"the name of the object ({meta.get('name', '')}) does not match the name on the URL ({call.name})")
            replicas = (wanted.get("spec") or {}).get("replicas") or 0
            if replicas < 0:
                cause = Cause("FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0", "spec.replicas")
                raise responses.invalid(SCALE.group, SCALE.name, call.name, [cause])
            old.setdefault("spec", {})["replicas"] = replicas
            old["metadata"]["resourceVersion"] = meta.get("resourceVersion", "")
            return old

        whole = attrs.evolve(call, route=attrs.evolve(call.route, subresource=""), verb="patch")
        done = await self._writer.change(whole, make, chosen)
        return scale_of(self._store.load(call.kind, done) if isinstance(done, Record) else done)


def _patched_scale(call: Call, scale: Object) -> Object:
    media = call.request.headers.get("content-type", "").partition(";")[0].strip()
    found, _ = patch.apply(SCALE, media, call.request.body, scale)
    return found
