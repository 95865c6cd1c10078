"""The binding of a pod to a node, as ``pods/NAME/binding`` or as a Binding of its own."""

from __future__ import annotations

from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.api import decode, options, responses
from edgek.server.api.admit import Gate
from edgek.server.api.call import Call
from edgek.server.api.options import WriteOptions
from edgek.server.api.storage import Objects
from edgek.server.api.write import RETRIES


class Binder:
    """What the scheduler asks for."""

    def __init__(self, store: Objects, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    async def bind(self, call: Call) -> Object:
        chosen = options.write_options(call.request, "Create")
        binding = decode.body(call, kinds.BINDING, chosen)
        name = call.name or objects.name(binding)
        if objects.name(binding) != name:
            raise errors.BadRequest("name in URL does not match name in Binding object")
        target = binding.get("target") or {}
        if target.get("kind") not in (None, "", "Node"):
            shown = target["kind"]
            raise errors.ServerError(f'target.kind: Unsupported value: "{shown}": supported values: "Node", "<empty>"')
        if not target.get("name"):
            raise errors.ServerError("target.name: Required value")
        review = self._gate.review(call, "CREATE", binding, None, dry_run=chosen.dry_run)
        self._gate.admit(review)
        self._gate.validate(review)
        await self._assign(call, name, binding, target["name"], chosen)
        return responses.created()

    async def _assign(self, call: Call, name: str, binding: Object, node: str, chosen: WriteOptions) -> None:
        for attempt in range(RETRIES + 1):
            record = self._store.record(kinds.POD, call.namespace, name)
            if record is None:
                raise responses.not_found(kinds.POD, name)
            pod = self._store.load(kinds.POD, record)
            why = _why_not_bound(pod, name)
            if binding["metadata"].get("uid") and binding["metadata"]["uid"] != objects.uid(pod):
                why = f"Precondition failed: UID in precondition: {binding['metadata']['uid']}, UID in object meta: {objects.uid(pod)}"
            if why:
                message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
                raise errors.Conflict(message, name=name, kind="pods/binding")
            _bound(pod, binding, node)
            try:
                if not chosen.dry_run:
                    await self._store.backend.update(record.key, self._store.draft(kinds.POD, pod), expected=record.revision)
                return
            except errors.Conflict:
                if attempt == RETRIES:
                    raise


def _why_not_bound(pod: Object, name: str) -> str:
    spec = pod.get("spec") or {}
    if objects.is_deleting(pod):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if spec.get("nodeName"):
        return f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    if spec.get("schedulingGates"):
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""


def _bound(pod: Object, binding: Object, node: str) -> None:
    """The pod on its node, in place; annotations and labels of the binding become the pod's."""
    pod["spec"]["nodeName"] = node
    for member in ("annotations", "labels"):
        sent = binding["metadata"].get(member)
        if sent:
            pod["metadata"][member] = {**(pod["metadata"].get(member) or {}), **sent}
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": wallclock.now_rfc3339(),
    }
    conditions[:] = [each for each in conditions if each.get("type") != "PodScheduled"]
    conditions.append(scheduled)
