"""``POST serviceaccounts/NAME/token``: a token for an account, bound to what it should not outlive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from edgek.host import pki, wallclock
from edgek.model import kinds, objects
from edgek.model.errors import BadRequest, Cause
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.backend import Backend, Key, Record

GROUP = "authentication.k8s.io"
DEFAULT_S = 3600
LEAST_S = 600
MOST_S = 1 << 32
# What the ServiceAccount admission asks for pods. Such tokens live longer than they say, so that programs which read their token only once go on
# working; the kubelet renews them at the time they say.
POD_TOKEN_S = 3607
EXTENDED_S = 365 * 24 * 3600

BINDABLE: Mapping[tuple[str, str], Kind] = {("v1", kind.name): kind for kind in (kinds.POD, kinds.SECRET, kinds.NODE)}


def create(
    tokens: ServiceAccountTokens,
    backend: Backend,
    namespace: str,
    name: str,
    request: Object,
    admit: Callable[[Object], None] = lambda request: None,
) -> Object:
    """The TokenRequest with its token, once ``admit`` let it pass. Raises NotFound, Invalid, BadRequest, Conflict."""
    account = _found(backend, kinds.SERVICE_ACCOUNT, namespace, name)
    admit(request)
    spec = request.setdefault("spec", {})
    audiences = spec["audiences"] = list(spec.get("audiences") or tokens.audiences)
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = DEFAULT_S
    lifetime_s = spec["expirationSeconds"]
    _check_lifetime(lifetime_s)
    reference = spec.setdefault("boundObjectRef", None)
    bound = _bound(backend, namespace, name, reference) if reference else {}
    real_s = lifetime_s
    if lifetime_s == POD_TOKEN_S and "pod" in bound and set(audiences) <= set(tokens.audiences):
        real_s = EXTENDED_S
        bound["warnafter"] = int(pki.sane_now()) + POD_TOKEN_S
    return {
        **request,
        "apiVersion": f"{GROUP}/v1",
        "kind": "TokenRequest",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": account.uid,
            "creationTimestamp": wallclock.now_rfc3339(),
        },
        "status": {
            "token": tokens.issue(namespace, name, account.uid, audiences, real_s, bound),
            "expirationTimestamp": wallclock.rfc3339(pki.sane_now() + lifetime_s),
        },
    }


def _check_lifetime(lifetime_s: int) -> None:
    said = ""
    if lifetime_s < LEAST_S:
        said = "may not specify a duration less than 10 minutes"
    elif lifetime_s > MOST_S:
        said = "may not specify a duration larger than 2^32 seconds"
    if said:
        cause = Cause("FieldValueInvalid", f"Invalid value: {lifetime_s}: {said}", "spec.expirationSeconds")
        raise responses.invalid(GROUP, "TokenRequest", "", [cause])


def _bound(backend: Backend, namespace: str, account: str, reference: Object) -> dict[str, Any]:
    """The claim for the object that the token is bound to, held against what is there."""
    version, name, uid = reference.get("apiVersion", ""), reference.get("name", ""), reference.get("uid", "")
    kind = BINDABLE.get((version, reference.get("kind", "")))
    if kind is None:
        raise BadRequest(f"cannot bind token to object of type {version}, Kind={reference.get('kind', '')}")
    record = _found(backend, kind, namespace, name)
    if uid and uid != record.uid:
        why = f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        raise responses.conflict(kind, name, why)
    claims: dict[str, Any] = {kind.singular: {"name": name, "uid": record.uid}}
    if kind == kinds.POD:
        claims |= _node_of_pod(backend, account, orjson.loads(record.body))
    return claims


def _node_of_pod(backend: Backend, account: str, pod: Object) -> dict[str, Any]:
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName") != account:
        raise BadRequest(
            f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.',
            name=objects.name(pod),
        )
    node = backend.get(Key(kinds.NODE.storage, "", spec.get("nodeName") or ""))
    return {"node": {"name": node.key.name, "uid": node.uid}} if node else {}


def _found(backend: Backend, kind: Kind, namespace: str, name: str) -> Record:
    record = backend.get(Key(kind.storage, namespace if kind.namespaced else "", name))
    if record is None:
        raise responses.not_found(kind, name)
    return record
