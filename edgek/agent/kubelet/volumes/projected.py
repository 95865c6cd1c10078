"""projected: several sources in one folder; among them the service account token that is bound to the pod.

A token is asked for again when 80 % of its life is over (or a day has passed), as upstream does it, and only then.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import attrs

from edgek.agent.kubelet.lifecycle import parse_time
from edgek.agent.kubelet.volumes import contents, payload
from edgek.agent.kubelet.volumes.payload import Entry
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.client.transport import Disconnected
from edgek.host import wallclock
from edgek.model import errors, kinds, objects

OLD_AT = 0.8  # of a token's life
OLDEST_S = 24 * 3600.0
JITTER_S = 10.0  # pods that started together do not ask together
OFFLINE_RETRY_S = 60.0
TOKEN_MODE = 0o600
PUBLIC_TOKEN_MODE = 0o644


@attrs.frozen
class _Token:
    text: str
    issued_at: float
    expires_at: float

    @property
    def renew_at(self) -> float:
        return self.issued_at + min((self.expires_at - self.issued_at) * OLD_AT, OLDEST_S)


class Projected:
    field: ClassVar[str] = "projected"

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str, int], _Token] = {}  # (pod uid, volume, audience, seconds)

    async def build(self, order: Order) -> Ready:
        source = order.volume["projected"]
        mode = contents.mode_of(source)
        entries: dict[str, Entry] = {}
        again: list[float] = []
        for part in source.get("sources") or ():
            if part.get("serviceAccountToken"):
                token = await self._token(order, part["serviceAccountToken"])
                again.append(token.renew_at)
                entries[part["serviceAccountToken"]["path"]] = _token_entry(order, token.text)
            else:
                entries |= await _part(order, part, mode)
        order.path.mkdir(parents=True, exist_ok=True)
        order.mounter.tmpfs(order.path)
        order.path.chmod(0o777)
        payload.write(order.path, entries, order.fs_group)
        if not again:
            return Ready(order.path)
        return Ready(order.path, max(1.0, min(again) - wallclock.now() + random.uniform(0, JITTER_S)))

    def forget(self, uid: str) -> None:
        self._tokens = {key: token for key, token in self._tokens.items() if key[0] != uid}

    async def _token(self, order: Order, source: Any) -> _Token:
        seconds, audience = int(source.get("expirationSeconds") or 3600), source.get("audience") or ""
        key = (objects.uid(order.pod), order.name, audience, seconds)
        kept = self._tokens.get(key)
        if kept and wallclock.now() < kept.renew_at:
            return kept
        if order.offline:
            return kept or _Token("", wallclock.now(), wallclock.now() + OFFLINE_RETRY_S)  # nobody could check one
        try:
            token = await _request_token(order, seconds, audience)
        except (errors.ApiError, Disconnected) as exc:
            if kept and wallclock.now() < kept.expires_at:
                return attrs.evolve(kept, issued_at=wallclock.now())  # asked again later; this one still counts
            raise VolumeFailed(f"failed to fetch token: {exc}") from None
        self._tokens[key] = token
        return token


async def _request_token(order: Order, seconds: int, audience: str) -> _Token:
    pod = order.pod
    account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
    bound = {"apiVersion": "v1", "kind": "Pod", "name": objects.name(pod), "uid": objects.uid(pod)}
    spec = {"expirationSeconds": seconds, "boundObjectRef": bound, **({"audiences": [audience]} if audience else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    answer = await order.client.create(kinds.SERVICE_ACCOUNT, body, objects.namespace(pod), name=account, subresource="token")
    now = wallclock.now()
    until = parse_time(answer["status"]["expirationTimestamp"])
    return _Token(answer["status"]["token"], now, max(until, now + 60))


def _token_entry(order: Order, text: str) -> Entry:
    """Readable for the one user that all containers run as; for everybody where they differ."""
    spec = order.pod.get("spec") or {}
    shared = (spec.get("securityContext") or {}).get("runAsUser")
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    users = {(c.get("securityContext") or {}).get("runAsUser", shared) for c in every}
    if order.fs_group is not None:
        return Entry(text.encode(), TOKEN_MODE)
    if len(users) == 1 and None not in users:
        return Entry(text.encode(), TOKEN_MODE, users.pop())
    return Entry(text.encode(), PUBLIC_TOKEN_MODE)


async def _part(order: Order, part: Any, mode: int) -> dict[str, Entry]:
    if part.get("configMap"):
        return await contents.of_object(order, kinds.CONFIG_MAP, part["configMap"]["name"], part["configMap"], mode)
    if part.get("secret"):
        return await contents.of_object(order, kinds.SECRET, part["secret"]["name"], part["secret"], mode)
    if part.get("downwardAPI"):
        return contents.of_downward(order, part["downwardAPI"].get("items"), mode)
    raise VolumeFailed(f"projected source {', '.join(part)} is not supported")
