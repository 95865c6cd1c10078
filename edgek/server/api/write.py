"""POST, PUT and PATCH of objects: the order in which a write is decoded, completed, admitted, validated and stored.

default → admission (change) → prepare → validate → admission (refuse) → allocate → store. A write that changes nothing is not one: the stored
object is answered and nobody hears of it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgek.host import wallclock
from edgek.model import errors, objects, schema
from edgek.model.kinds import NAMESPACE, Kind
from edgek.model.objects import Object
from edgek.server import resources
from edgek.server.api import decode, options, patch, quota, responses
from edgek.server.api.admit import Gate
from edgek.server.api.call import Call
from edgek.server.api.options import WriteOptions
from edgek.server.api.storage import Objects, copied
from edgek.server.resources.allocators import Allocators
from edgek.server.resources.unserved import Notices, no_notices
from edgek.server.store.backend import Record

RETRIES = 5  # of a write that names no revision, when others are quicker
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
NAME_SUFFIX = 5
NAME_LONGEST = 63
NAME_TRIES = 8
SERVER_MEMBERS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields")
KEPT_MEMBERS = ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
APPLY_PATCH = "application/apply-patch+yaml"
NAME_UNCLEAR = "the name of the object ({} based on URL) was undeterminable: name must be provided"

Make = Callable[[Object], Object]
# A write's outcome: what is stored now, or (a dry run, an object that just went) what would be or was.
Outcome = Record | Object


class Writer:
    def __init__(self, store: Objects, gate: Gate, allocators: Allocators, notices: Notices = no_notices) -> None:
        """``notices`` are told with what was written."""
        self.store = store
        self._notices = notices
        self.gate = gate
        self._allocators = allocators

    # --- create -------------------------------------------------------------------------------------------------------------------------

    async def create(self, call: Call) -> Outcome:
        chosen = options.write_options(call.request, "Create")
        return await self.create_object(call, decode.body(call, call.kind, chosen), chosen)

    async def create_object(self, call: Call, obj: Object, chosen: WriteOptions) -> Outcome:
        """Take a decoded, defaulted object to the store."""
        kind, resource = call.kind, resources.of(call.kind)
        meta = obj["metadata"]
        _fit_namespace(call, meta)
        if meta.get("resourceVersion"):
            raise errors.ServerError("resourceVersion should not be set on objects to be created")
        for member in (*SERVER_MEMBERS, "resourceVersion"):
            meta.pop(member, None)
        generated = not meta.get("name") and bool(meta.get("generateName"))
        if generated:
            meta["name"] = self._free_name(call, meta["generateName"])
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = wallclock.now_rfc3339()
        review = self.gate.review(call, "CREATE", obj, None, dry_run=chosen.dry_run)
        self.gate.admit(review)
        resource.prepare_create(obj)
        schema.normalise(kind, obj)  # what was dropped prints as its zero value: status {}
        self._raise_problems(kind, obj, resource.problems(obj))
        call.warnings.extend([*resource.warnings(obj, None), *self._notices(kind, obj, None)])
        self.gate.validate(review)
        await quota.charge(self.store, review)
        return await self._insert(call, obj, chosen, generated=generated)

    async def _insert(self, call: Call, obj: Object, chosen: WriteOptions, *, generated: bool) -> Outcome:
        kind, resource, name = call.kind, resources.of(call.kind), objects.name(obj)
        standing = self.store.record(kind, call.namespace, name)
        if standing is not None:
            raise _standing(kind, name, self.store.load(kind, standing))
        self._raise_problems(kind, obj, resource.allocate(obj, None, self._allocators))
        try:
            if chosen.dry_run:
                resource.release(obj, None, self._allocators)
                return obj
            return await self.store.backend.create(self.store.key(kind, call.namespace, name), self.store.draft(kind, obj))
        except errors.AlreadyExists:
            resource.release(obj, None, self._allocators)
            if generated:
                raise _no_free_name(kind, name) from None
            raise responses.already_exists(kind, name) from None
        except BaseException:
            resource.release(obj, None, self._allocators)
            raise

    def _free_name(self, call: Call, prefix: str) -> str:
        for _ in range(NAME_TRIES):
            name = prefix[: NAME_LONGEST - NAME_SUFFIX] + "".join(random.choices(NAME_LETTERS, k=NAME_SUFFIX))
            if self.store.record(call.kind, call.namespace, name) is None:
                return name
        raise _no_free_name(call.kind, name)

    # --- update -------------------------------------------------------------------------------------------------------------------------

    async def update(self, call: Call) -> tuple[Outcome, bool]:
        """PUT; and whether the object is new."""
        chosen = options.write_options(call.request, "Update")
        sent = decode.body(call, call.kind, chosen)
        _fit_name(call, sent["metadata"])
        _fit_namespace(call, sent["metadata"])
        if self.store.record(call.kind, call.namespace, call.name) is None and not call.subresource:
            if not resources.of(call.kind).creates_on_update:
                raise responses.not_found(call.kind, call.name)
            if sent["metadata"].get("uid"):
                raise _other_uid(call, sent["metadata"]["uid"], "")
            return await self.create_object(call, sent, chosen), True
        return await self.change(call, lambda old: copied(sent), chosen), False

    async def patch(self, call: Call) -> Outcome:
        media = call.request.headers.get("content-type", "").partition(";")[0].strip()
        if media == APPLY_PATCH:
            raise errors.UnsupportedMediaType("server-side apply is not served yet: send a strategic merge patch, a merge patch or a JSON patch")
        if media not in patch.TYPES:
            raise errors.UnsupportedMediaType("415: Unsupported Media Type")
        chosen = options.write_options(call.request, "Patch")

        said = len(call.warnings)

        def make(old: Object) -> Object:
            del call.warnings[said:]
            found, duplicates = patch.apply(call.kind, media, call.request.body, old)
            decode.patched(call, found, chosen, duplicates)
            _fit_name(call, found["metadata"])
            _fit_namespace(call, found["metadata"])
            return found

        return await self.change(call, make, chosen)

    async def change(self, call: Call, make: Make, chosen: WriteOptions) -> Outcome:
        """Read, change, write; again from the start when others were quicker and the change names no revision."""
        for attempt in range(RETRIES + 1):
            record = self.store.record(call.kind, call.namespace, call.name)
            if record is None:
                raise responses.not_found(call.kind, call.name)
            old = self.store.load(call.kind, record)
            new = make(copied(old))
            _check_uid(call, new["metadata"], old["metadata"])
            free = _names_no_revision(call, new, old)
            try:
                return await self._replace(call, record, old, new, chosen)
            except _Raced:
                if not free or attempt == RETRIES:
                    raise responses.conflict(call.kind, call.name) from None
        raise AssertionError("unreachable")

    async def _replace(self, call: Call, record: Record, old: Object, new: Object, chosen: WriteOptions) -> Outcome:
        kind, resource = call.kind, resources.of(call.kind)
        self._keep_metadata(new["metadata"], old["metadata"])
        review = self.gate.review(call, "UPDATE", new, old, dry_run=chosen.dry_run)
        self.gate.admit(review)
        resource.prepare_update(new, old, call.subresource)
        schema.normalise(kind, new)
        self._raise_problems(kind, new, resource.problems(new, old, call.subresource))
        call.warnings.extend([*resource.warnings(new, old), *self._notices(kind, new, old)])
        self.gate.validate(review)
        if new == old:
            return record
        if _is_over(kind, new, old):
            if not chosen.dry_run:
                with _race():
                    await self.remove(kind, record, old)
            return new
        await quota.charge(self.store, review)
        if not call.subresource:
            self._raise_problems(kind, new, resource.allocate(new, old, self._allocators))
        try:
            if chosen.dry_run:
                resource.release(new, old, self._allocators)
                return new
            with _race():
                written = await self.store.backend.update(record.key, self.store.draft(kind, new), expected=record.revision)
        except BaseException:
            resource.release(new, old, self._allocators)
            raise
        resource.release(old, new, self._allocators)
        return written

    def _keep_metadata(self, meta: Object, before: Object) -> None:
        """What the server wrote stays, whether the client sends it along or not."""
        meta.pop("managedFields", None)
        if "managedFields" in before:
            meta["managedFields"] = before["managedFields"]
        meta["uid"] = before["uid"]
        meta["resourceVersion"] = before["resourceVersion"]
        meta["creationTimestamp"] = before["creationTimestamp"]
        for member in KEPT_MEMBERS:
            if not meta.get(member) and member in before:
                meta[member] = before[member]
        meta.pop("generation", None)
        if "generation" in before:
            meta["generation"] = before["generation"]

    def _raise_problems(self, kind: Kind, obj: Object, problems: Sequence[resources.FieldError]) -> None:
        """Raises Invalid, which names the kind as which the object is kept."""
        causes = [problem.cause() for problem in problems]
        if causes:
            raise responses.invalid(self.store.registry.stored(kind).group, kind.name, objects.name(obj), causes)

    async def remove(self, kind: Kind, record: Record, last: Object) -> Object:
        """Take an object out of the store for good; what is told of it is ``last``."""
        gone = await self.store.backend.delete(record.key, self.store.draft(kind, copied(last)), expected=record.revision)
        resources.of(kind).release(last, None, self._allocators)
        return self.store.load(kind, gone)


class _Raced(Exception):
    """Somebody else wrote since we read."""


@contextmanager
def _race() -> Iterator[None]:
    """Around a write to the store: its conflicts are worth a retry, those that a rule raises are not."""
    try:
        yield
    except errors.Conflict:
        raise _Raced from None


def _check_uid(call: Call, meta: Object, before: Object) -> None:
    """Raises Conflict when another object of this name is meant."""
    sent = meta.get("uid") or ""
    if sent and sent != before["uid"]:
        raise _other_uid(call, sent, before["uid"], before.get("resourceVersion", ""))


def _names_no_revision(call: Call, new: Object, old: Object) -> bool:
    """Whether this write may be held against any revision. Raises Conflict, Invalid when it is held against another one."""
    asked = new["metadata"].get("resourceVersion") or ""
    have = old["metadata"]["resourceVersion"]
    if asked in ("", "0"):
        if not resources.of(call.kind).updates_unconditionally and call.verb == "update":
            why = f"Invalid value: {asked or '0x0'}: must be specified for an update"
            raise responses.invalid(call.kind.group, call.kind.name, call.name, [errors.Cause("FieldValueInvalid", why, "metadata.resourceVersion")])
        return True
    if not asked.isdigit():
        raise errors.ServerError(f'strconv.ParseUint: parsing "{asked}": invalid syntax')
    if asked != have:
        raise responses.conflict(call.kind, call.name)
    return call.verb == "patch"


def _is_over(kind: Kind, new: Object, old: Object) -> bool:
    """Whether the last thing that held up a deletion is gone."""
    if not objects.is_deleting(old) or objects.finalizers(new):
        return False
    if kind is NAMESPACE and (new.get("spec") or {}).get("finalizers"):
        return False
    return not old["metadata"].get("deletionGracePeriodSeconds")


def _fit_name(call: Call, meta: Object) -> None:
    name = meta.get("name") or ""
    if not name:
        raise errors.BadRequest(NAME_UNCLEAR.format(call.name))
    if name != call.name:
        raise errors.BadRequest(f"the name of the object ({name}) does not match the name on the URL ({call.name})")


def _fit_namespace(call: Call, meta: Object) -> None:
    """The namespace of the URL is the object's; of what lies in none it is dropped. Raises BadRequest when they differ."""
    sent = meta.get("namespace") or ""
    if sent and call.namespace and sent != call.namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if call.namespace:
        meta["namespace"] = call.namespace
    else:
        meta.pop("namespace", None)


def _standing(kind: Kind, name: str, obj: Object) -> errors.AlreadyExists:
    return responses.already_exists(kind, name, "object is being deleted: " if objects.is_deleting(obj) else "")


def _no_free_name(kind: Kind, name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f'{kind.resource} "{name}" already exists, the server was not able to generate a unique name for the object',
        name=name,
        group=kind.group,
        kind=kind.plural,
        retry_after_s=1,
    )


def _other_uid(call: Call, sent: str, have: str, revision: str = "0") -> errors.Conflict:
    """In the words of upstream's storage, which clients have learned to read."""
    where = "/".join(filter(None, ("/registry", call.kind.plural, call.namespace, call.name)))
    return responses.conflict(
        call.kind,
        call.name,
        f"StorageError: invalid object, Code: 4, Key: {where}, ResourceVersion: {revision}, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {have}",
    )
