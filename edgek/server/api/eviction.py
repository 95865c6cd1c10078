"""The eviction of a pod: a delete that its disruption budget has to allow."""

from __future__ import annotations

import attrs

from edgek.host import wallclock
from edgek.model import errors, kinds, objects, selectors
from edgek.model.errors import Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import decode, options, responses
from edgek.server.api.admit import Gate
from edgek.server.api.call import Call
from edgek.server.api.delete import Deleter, check_preconditions
from edgek.server.api.options import DeleteOptions
from edgek.server.api.storage import Objects
from edgek.server.api.write import RETRIES

EVICTION = Kind("policy", "v1", "Eviction", "")

CANNOT_EVICT = "Cannot evict pod as it would violate the pod's disruption budget."
SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
DISRUPTED_MOST = 2000  # pods that one budget may be told of before its controller has to catch up
RETRY_S = 10  # until a budget's controller should have caught up


class Evictor:
    """What those who drain nodes ask for."""

    def __init__(self, store: Objects, gate: Gate, deleter: Deleter) -> None:
        self._store = store
        self._gate = gate
        self._deleter = deleter

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
        whole = attrs.evolve(call, route=attrs.evolve(call.route, subresource=""), kind=kinds.POD)
        await self._deleter.delete_object(whole, await self._allowed(whole, asked))
        return responses.created()

    async def _allowed(self, call: Call, asked: DeleteOptions) -> DeleteOptions:
        """Spend the budget, once however often others are quicker, and announce that the pod goes; the deletion that may follow, of this very pod."""
        spent = False
        for attempt in range(RETRIES + 1):
            pod = self._store.get(kinds.POD, call.name, call.namespace)
            if pod is None:
                raise responses.not_found(kinds.POD, call.name)
            check_preconditions(call, pod, asked)
            asked = attrs.evolve(asked, uid=objects.uid(pod))
            if _goes_anyway(pod):
                return asked
            try:
                if not spent:
                    await self._spend_budget(call, pod, asked)
                    spent = True
                return asked if asked.dry_run else await self._announce(call, asked)
            except errors.Conflict:
                if attempt == RETRIES or asked.revision:
                    raise
        raise AssertionError("unreachable")

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

    async def _announce(self, call: Call, asked: DeleteOptions) -> DeleteOptions:
        """Say in the pod's status why it goes, for the controllers that count failures; what is asked, of the pod as it is now."""
        record = self._store.record(kinds.POD, call.namespace, call.name)
        if record is None:
            raise responses.not_found(kinds.POD, call.name)
        pod = self._store.load(kinds.POD, record)
        check_preconditions(call, pod, asked)
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
        written = await self._store.backend.update(record.key, self._store.draft(kinds.POD, pod), expected=record.revision)
        return attrs.evolve(asked, revision=str(written.revision)) if asked.revision else asked


def _goes_anyway(pod: Object) -> bool:
    """No budget protects what does not run."""
    return objects.is_deleting(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")


def _covers(budget: Object, pod: Object) -> bool:
    return selectors.of_dict_or_nothing((budget.get("spec") or {}).get("selector")).matches(objects.labels(pod))


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
        raise _refused(f"The disruption budget {name} is still being processed by the server.", RETRY_S)
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
