"""Service account tokens that are bound to a pod, kept until they grow old.

One is asked for again when 80 % of its life is over (or a day has passed), as upstream does it, and only then.
"""

from __future__ import annotations

import attrs

from edgek.agent.kubelet.lifecycle import parse_time
from edgek.agent.kubelet.volumes.volume import Order, VolumeFailed
from edgek.client.transport import Disconnected
from edgek.host import wallclock
from edgek.model import errors, kinds, objects

OLD_AT = 0.8  # of a token's life
OLDEST_S = 24 * 3600.0
OFFLINE_RETRY_S = 60.0


@attrs.frozen
class Token:
    text: str
    issued_at: float
    expires_at: float

    @property
    def renew_at(self) -> float:
        return self.issued_at + min((self.expires_at - self.issued_at) * OLD_AT, OLDEST_S)


class Tokens:
    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str, int], Token] = {}  # (pod uid, volume, audience, seconds)

    async def get(self, order: Order, seconds: int, audience: str) -> Token:
        """Raises VolumeFailed."""
        key = (objects.uid(order.pod), order.name, audience, seconds)
        kept = self._tokens.get(key)
        if kept and wallclock.now() < kept.renew_at:
            return kept
        if order.offline:
            return kept or Token("", wallclock.now(), wallclock.now() + OFFLINE_RETRY_S)  # nobody could check one
        try:
            token = await _request(order, seconds, audience)
        except (errors.ApiError, Disconnected) as exc:
            if kept and wallclock.now() < kept.expires_at:
                return attrs.evolve(kept, issued_at=wallclock.now())  # asked again later; this one still counts
            raise VolumeFailed(f"failed to fetch token: {exc}") from None
        self._tokens[key] = token
        return token

    def forget(self, uid: str) -> None:
        self._tokens = {key: token for key, token in self._tokens.items() if key[0] != uid}


async def _request(order: Order, seconds: int, audience: str) -> Token:
    pod = order.pod
    account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
    bound = {"apiVersion": "v1", "kind": "Pod", "name": objects.name(pod), "uid": objects.uid(pod)}
    spec = {"expirationSeconds": seconds, "boundObjectRef": bound, **({"audiences": [audience]} if audience else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    answer = await order.client.create(kinds.SERVICE_ACCOUNT, body, objects.namespace(pod), name=account, subresource="token")
    now = wallclock.now()
    until = parse_time(answer["status"]["expirationTimestamp"])
    return Token(answer["status"]["token"], now, max(until, now + 60))
