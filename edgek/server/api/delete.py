"""DELETE: preconditions, finalizers for the garbage collector, grace, and the end.

A kind is graceful when its Resource says how long (pods). Everything else goes at once, unless finalizers hold it. The rules are those of
k8s.io/apiserver's generic registry store and rest.BeforeDelete.
"""

from __future__ import annotations

import trio

from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server import resources
from edgek.server.api import options, responses, wire
from edgek.server.api.admit import Gate
from edgek.server.api.call import Call
from edgek.server.api.options import DeleteOptions
from edgek.server.api.read import check_fields, matches
from edgek.server.api.storage import Objects, copied
from edgek.server.api.write import RETRIES, Writer
from edgek.server.resources import Resource
from edgek.server.store.backend import Record

AT_ONCE = 32  # deletions of a collection: a disk writes as many in one batch as one alone
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"

# Kinds whose delete answers with the object that was, not with a Status.
ANSWERS_OBJECT = frozenset(
    {
        kinds.POD,
        kinds.SERVICE,
        kinds.SERVICE_ACCOUNT,
        kinds.PERSISTENT_VOLUME,
        kinds.PERSISTENT_VOLUME_CLAIM,
        kinds.POD_TEMPLATE,
        kinds.RESOURCE_QUOTA,
    }
)
CHILDREN_STAY = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan "
    "to suppress this warning"
)
DELETE_OPTIONS = Kind("", "v1", "DeleteOptions", "")


class Deleter:
    def __init__(self, store: Objects, gate: Gate, writer: Writer) -> None:
        self._store = store
        self._gate = gate
        self._writer = writer

    async def delete(self, call: Call) -> Object:
        """The object while it is still going, or a Status when it is gone."""
        return await self.delete_object(call, self._options(call))

    async def collection(self, call: Call) -> Object:
        """Delete what the selectors match; the list of it."""
        chosen = self._options(call)
        asked = options.list_options(call.request, watching=False)
        check_fields(call.kind, asked)
        page = self._store.backend.list(call.kind.storage, call.namespace)
        waiting = iter([record for record in page.records if matches(record, asked)])
        gone: list[Record] = []
        failed: list[errors.ApiError] = []

        async def work() -> None:
            for record in waiting:
                try:
                    await self.delete_object(_of_one(call, record), chosen)
                    gone.append(record)
                except errors.NotFound:
                    continue
                except errors.ApiError as exc:
                    failed.append(exc)
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(work)
        if failed:
            raise failed[0]
        items = [self._store.load(call.kind, record) for record in sorted(gone, key=lambda each: (each.key.namespace, each.key.name))]
        meta = {"resourceVersion": str(self._store.backend.revision)}
        return {"kind": f"{call.kind.name}List", "apiVersion": call.kind.api_version, "metadata": meta, "items": items}

    async def delete_object(self, call: Call, chosen: DeleteOptions) -> Object:
        for attempt in range(RETRIES + 1):
            record = self._store.record(call.kind, call.namespace, call.name)
            if record is None:
                raise responses.not_found(call.kind, call.name)
            old = self._store.load(call.kind, record)
            check_preconditions(call, old, chosen)
            review = self._gate.review(call, "DELETE", None, old, dry_run=chosen.dry_run)
            self._gate.admit(review)
            self._gate.validate(review)
            try:
                return await self._delete_once(call, chosen, record, old)
            except errors.Conflict:
                if attempt == RETRIES:
                    raise
            except errors.NotFound:
                raise responses.not_found(call.kind, call.name) from None
        raise AssertionError("unreachable")

    def _options(self, call: Call) -> DeleteOptions:
        """Raises BadRequest for a body that holds something else."""
        if not call.request.body:
            return options.delete_options(None, call.request)
        body, _ = wire.decode_body(call.request.headers.get("content-type", ""), call.request.body, DELETE_OPTIONS)
        return options.delete_options(body, call.request)

    async def _delete_once(self, call: Call, chosen: DeleteOptions, record: Record, old: Object) -> Object:
        if call.kind is kinds.NAMESPACE:
            waiting = await self._delete_namespace(call, chosen, record, old)
            if waiting is not None:
                return waiting
        new = copied(old)
        outcome = _grace(resources.of(call.kind), new, chosen)
        if outcome == "pending":
            return self._answer(call.kind, old, gone=False)
        finalizers = _collector_finalizers(call, new, chosen)
        changed = finalizers != objects.finalizers(new)
        if changed:
            new["metadata"]["finalizers"] = finalizers
            if not finalizers:
                del new["metadata"]["finalizers"]
        if outcome == "now" and finalizers:
            _mark_deleting(new)
        if finalizers or (outcome == "graceful" and new["metadata"]["deletionGracePeriodSeconds"] > 0):
            return await self._keep(call, chosen, record, old, new)
        if outcome == "graceful":  # told to watchers before it goes, so that a kubelet sees it
            record = record if chosen.dry_run or new == old else await self._write(call.kind, record, new)
            old = new
        if chosen.dry_run:
            return self._answer(call.kind, old, gone=True)
        return self._answer(call.kind, await self._writer.remove(call.kind, record, old), gone=True)

    async def _delete_namespace(self, call: Call, chosen: DeleteOptions, record: Record, old: Object) -> Object | None:
        """A namespace goes when its own finalizers are gone: it is marked, and emptied by its controller. None when it may go now."""
        held = bool((old.get("spec") or {}).get("finalizers"))
        if not objects.is_deleting(old):
            new = copied(old)
            new["metadata"]["deletionTimestamp"] = wallclock.now_rfc3339()
            new.setdefault("status", {})["phase"] = "Terminating"
            finalizers = _collector_finalizers(call, new, chosen)
            if finalizers:
                new["metadata"]["finalizers"] = finalizers
            if held or finalizers:
                return await self._keep(call, chosen, record, old, new)
            return None
        return old if held else None

    async def _keep(self, call: Call, chosen: DeleteOptions, record: Record, old: Object, new: Object) -> Object:
        """The object stays for now."""
        if new == old or chosen.dry_run:
            return self._answer(call.kind, new, gone=False)
        return self._answer(call.kind, self._store.load(call.kind, await self._write(call.kind, record, new)), gone=False)

    async def _write(self, kind: Kind, record: Record, new: Object) -> Record:
        return await self._store.backend.update(record.key, self._store.draft(kind, copied(new)), expected=record.revision)

    def _answer(self, kind: Kind, obj: Object, *, gone: bool) -> Object:
        if not gone or kind in ANSWERS_OBJECT:
            return obj
        return responses.success(kind, objects.name(obj), objects.uid(obj))


def _of_one(call: Call, record: Record) -> Call:
    """The same request as if it named one object of the collection."""
    route = call.route.at(record.key.namespace, record.key.name)
    return Call(call.request, call.user, route, call.kind, call.verb, call.want, call.warnings)


def check_preconditions(call: Call, obj: Object, chosen: DeleteOptions) -> None:
    """Raises Conflict. Here, and only here, upstream calls the object by its Kind."""
    why = ""
    if chosen.uid and chosen.uid != objects.uid(obj):
        why = f"the UID in the precondition ({chosen.uid}) does not match the UID in record ({objects.uid(obj)}). "
        why += "The object might have been deleted and then recreated"
    elif chosen.revision and chosen.revision != objects.revision(obj):
        why = f"the ResourceVersion in the precondition ({chosen.revision}) does not match the ResourceVersion in record "
        why += f"({objects.revision(obj)}). The object might have been modified"
    if why:
        qualified = f"{call.kind.name}.{call.kind.group}" if call.kind.group else call.kind.name
        message = f'Operation cannot be fulfilled on {qualified} "{call.name}": {why}'
        raise errors.Conflict(message, name=call.name, group=call.kind.group, kind=call.kind.name)


def is_graceful(resource: Resource) -> bool:
    return type(resource).grace_s is not Resource.grace_s


def _grace(resource: Resource, obj: Object, chosen: DeleteOptions) -> str:
    """``graceful`` when ``obj`` was given (less) time, ``pending`` when it has less already, ``now`` when there is none to give."""
    if not is_graceful(resource):
        return "now"
    meta = obj["metadata"]
    asked = None if chosen.grace_s is None else max(1, chosen.grace_s) if chosen.grace_s < 0 else chosen.grace_s
    if meta.get("deletionTimestamp"):
        had = meta.get("deletionGracePeriodSeconds") or 0
        if not had:
            return "now"
        if asked is None or asked >= had:
            return "pending"
        meta["deletionTimestamp"] = wallclock.rfc3339(wallclock.parse(meta["deletionTimestamp"]) - had + asked)
        meta["deletionGracePeriodSeconds"] = asked
        return "graceful"
    grace_s = resource.grace_s(obj, asked)
    meta["deletionTimestamp"] = wallclock.rfc3339(wallclock.now() + grace_s)
    meta["deletionGracePeriodSeconds"] = grace_s
    if meta.get("generation"):
        meta["generation"] += 1
    return "graceful"


def _mark_deleting(obj: Object) -> None:
    meta = obj["metadata"]
    if meta.get("deletionGracePeriodSeconds") is None and meta.get("generation"):
        meta["generation"] += 1
    meta.setdefault("deletionTimestamp", wallclock.now_rfc3339())
    meta["deletionGracePeriodSeconds"] = 0


def _collector_finalizers(call: Call, obj: Object, chosen: DeleteOptions) -> list[str]:
    """The object's finalizers as the propagation policy wants them: at most one of the collector's two."""
    have = objects.finalizers(obj)
    policy = chosen.propagation
    if chosen.orphan_dependents is not None:
        policy = "Orphan" if chosen.orphan_dependents else "Background"
    if not policy:
        policy = "Orphan" if ORPHAN in have else "Foreground" if FOREGROUND in have else ""
    if not policy:
        policy = resources.of(call.kind).default_propagation
        if policy == "Orphan" and call.kind is kinds.JOB and CHILDREN_STAY not in call.warnings:
            call.warnings.append(CHILDREN_STAY)
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(policy, "")
    if wanted and wanted in have:
        return [each for each in have if each == wanted or each not in (ORPHAN, FOREGROUND)]
    return [each for each in have if each not in (ORPHAN, FOREGROUND)] + ([wanted] if wanted else [])
