"""The subresources that are not the object itself: scale, binding, eviction, tokens of accounts."""

from __future__ import annotations

import attrs

from edgek.host import wallclock
from edgek.model import errors, kinds, objects, selectors
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import decode, options, patch, responses, token_request
from edgek.server.api.admit import Gate
from edgek.server.api.call import Call
from edgek.server.api.delete import Deleter
from edgek.server.api.options import DeleteOptions, WriteOptions
from edgek.server.api.storage import Objects, copied
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.api.write import RETRIES, Writer
from edgek.server.store.backend import Record

SCALE = Kind("autoscaling", "v1", "Scale", "")
EVICTION = Kind("policy", "v1", "Eviction", "")
TOKEN_REQUEST = Kind("authentication.k8s.io", "v1", "TokenRequest", "")

CANNOT_EVICT = "Cannot evict pod as it would violate the pod's disruption budget."
SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
DISRUPTED_MOST = 2000  # pods that one budget may be told of before its controller has to catch up
EVICTION_RETRY_S = 10


# --- scale --------------------------------------------------------------------------------------------------------------------------------


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


# --- binding ------------------------------------------------------------------------------------------------------------------------------


class Pods:
    """What the scheduler and those who drain nodes ask for."""

    def __init__(self, store: Objects, gate: Gate, deleter: Deleter) -> None:
        self._store = store
        self._gate = gate
        self._deleter = deleter

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

    # --- eviction -------------------------------------------------------------------------------------------------------------------------

    async def evict(self, call: Call) -> Object:
        chosen = options.write_options(call.request, "Create")
        eviction = decode.body(call, EVICTION, chosen)
        if (objects.name(eviction) or call.name) != call.name:
            raise errors.BadRequest("name in URL does not match name in Eviction object")
        asked = options.delete_options(eviction.get("deleteOptions") or {}, call.request)
        asked = attrs.evolve(asked, dry_run=asked.dry_run or chosen.dry_run)
        review = self._gate.review(call, "CREATE", eviction, None, dry_run=asked.dry_run)
        self._gate.admit(review)
        self._gate.validate(review)
        for attempt in range(RETRIES + 1):
            pod = self._store.get(kinds.POD, call.name, call.namespace)
            if pod is None:
                raise responses.not_found(kinds.POD, call.name)
            try:
                await self._evict_once(call, pod, asked)
                return responses.created()
            except errors.Conflict:
                if attempt == RETRIES or asked.uid or asked.revision:
                    raise
        raise AssertionError("unreachable")

    async def _evict_once(self, call: Call, pod: Object, asked: DeleteOptions) -> None:
        if not _goes_anyway(pod):
            await self._spend_budget(call, pod, asked)
            if not asked.dry_run:
                await self._announce(pod)
        whole = attrs.evolve(call, route=attrs.evolve(call.route, subresource=""), kind=kinds.POD)
        await self._deleter.delete_object(whole, attrs.evolve(asked, uid=asked.uid or objects.uid(pod)))

    async def _spend_budget(self, call: Call, pod: Object, asked: DeleteOptions) -> None:
        """Raises TooManyRequests when the pod's budget does not allow it."""
        found = [each for each in self._store.find(kinds.POD_DISRUPTION_BUDGET, call.namespace) if _covers(each, pod)]
        if not found:
            return
        if len(found) > 1:
            raise errors.ServerError(SEVERAL_BUDGETS)
        budget = found[0]
        if _unready_may_go(budget, pod):
            return
        _spend(budget, objects.name(pod))
        if asked.dry_run:
            return
        record = self._store.record(kinds.POD_DISRUPTION_BUDGET, call.namespace, objects.name(budget))
        draft = self._store.draft(kinds.POD_DISRUPTION_BUDGET, budget)
        assert record is not None  # nothing has waited since it was found
        await self._store.backend.update(record.key, draft, expected=record.revision)

    async def _announce(self, pod: Object) -> None:
        """Say in the pod's status why it goes, for the controllers that count failures."""
        record = self._store.record(kinds.POD, objects.namespace(pod), objects.name(pod))
        if record is None or record.uid != objects.uid(pod):
            return
        pod = self._store.load(kinds.POD, record)
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [each for each in conditions if each.get("type") != "DisruptionTarget"]
        conditions.append(
            {
                "type": "DisruptionTarget",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": wallclock.now_rfc3339(),
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            }
        )
        await self._store.backend.update(record.key, self._store.draft(kinds.POD, pod), expected=record.revision)


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


def _goes_anyway(pod: Object) -> bool:
    """No budget protects what does not run."""
    return objects.is_deleting(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")


def _covers(budget: Object, pod: Object) -> bool:
    return selectors.of_dict((budget.get("spec") or {}).get("selector")).matches(objects.labels(pod))


def _unready_may_go(budget: Object, pod: Object) -> bool:
    if objects.condition_is(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return desired > 0 and (status.get("currentHealthy") or 0) >= desired


def _spend(budget: Object, pod: str) -> None:
    """Count one disruption, in place. Raises TooManyRequests, Forbidden."""
    name, status = objects.name(budget), budget.setdefault("status", {})
    if (status.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        raise _refused(f"The disruption budget {name} is still being processed by the server.", EVICTION_RETRY_S)
    allowed = status.get("disruptionsAllowed") or 0
    disrupted = status.setdefault("disruptedPods", {})
    if allowed < 0:
        raise responses.forbidden(kinds.POD_DISRUPTION_BUDGET, name, "pdb disruptions allowed is negative")
    if len(disrupted) > DISRUPTED_MOST:
        raise responses.forbidden(kinds.POD_DISRUPTION_BUDGET, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if not allowed:
        needs, has = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        raise _refused(f"The disruption budget {name} needs {needs} healthy pods and has {has} currently")
    status["disruptionsAllowed"] = allowed - 1
    disrupted[pod] = wallclock.now_rfc3339()
    if allowed == 1:
        _disallow(status, budget["metadata"].get("generation") or 0)


def _disallow(status: Object, generation: int) -> None:
    conditions = status.setdefault("conditions", [])
    before = next((each for each in conditions if each.get("type") == "DisruptionAllowed"), None)
    since = before["lastTransitionTime"] if before and before.get("status") == "False" else wallclock.now_rfc3339()
    conditions[:] = [each for each in conditions if each is not before]
    conditions.append(
        {
            "type": "DisruptionAllowed",
            "status": "False",
            "observedGeneration": generation,
            "lastTransitionTime": since,
            "reason": "InsufficientPods",
            "message": "",
        }
    )


def _refused(why: str, retry_after_s: int = 0) -> errors.TooManyRequests:
    return errors.TooManyRequests(CANNOT_EVICT, causes=[Cause("DisruptionBudget", why)], retry_after_s=retry_after_s)


# --- tokens -------------------------------------------------------------------------------------------------------------------------------


async def create_token(call: Call, store: Objects, gate: Gate, tokens: ServiceAccountTokens) -> Object:
    chosen = options.write_options(call.request, "Create")
    sent = decode.body(call, TOKEN_REQUEST, chosen)

    def admit(request: Object) -> None:
        review = gate.review(call, "CREATE", request, None, dry_run=chosen.dry_run)
        gate.admit(review)
        gate.validate(review)

    return token_request.create(tokens, store.backend, call.namespace, call.name, copied(sent), admit)
