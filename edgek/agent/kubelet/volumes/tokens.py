"""Service account tokens that are bound to a pod, kept until they grow old.

One is asked for again when 80 % of its life is over (or a day has passed), as upstream does it, and only then. Its life is as long as the server
says, counted by a clock that nobody sets. While no server answers the last one is given, even if it has ended: nobody can check it then, and an empty
file would stop programs that start. After a boot without a server it comes from the node's own copy.
"""

from __future__ import annotations

import attrs
import trio

from edgek.agent.kubelet.volumes.volume import Order, VolumeFailed
from edgek.client.transport import Disconnected
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

OLD_AT = 0.8  # of a token's life
OLDEST_S = 24 * 3600.0
AWAY_RETRY_S = 60.0
AWAY = (Disconnected, errors.ServiceUnavailable)


@attrs.frozen
class Token:
    """Times are those of ``trio.current_time``. ``expiration`` is the server's word, RFC 3339."""

    text: str
    renew_at: float
    ends_at: float
    expiration: str


class Tokens:
    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str, int], Token] = {}  # (pod uid, volume, audience, seconds)

    async def get(self, order: Order, seconds: int, audience: str) -> Token:
        """Raises VolumeFailed."""
        key = (objects.uid(order.pod), order.name, audience, seconds)
        kept, now = self._tokens.get(key), trio.current_time()
        if kept and now < kept.renew_at:
            return kept
        last = kept or self._copy(order, key)
        if order.offline:
            return attrs.evolve(last or _nothing(), renew_at=now + AWAY_RETRY_S)
        try:
            answer = await _request(order, seconds, audience)
        except AWAY as exc:
            if last is None:
                raise VolumeFailed(f"failed to fetch token: {exc}") from None
            return attrs.evolve(last, renew_at=now + AWAY_RETRY_S)
        except errors.ApiError as exc:
            if kept is None or now >= kept.ends_at:
                raise VolumeFailed(f"failed to fetch token: {exc}") from None
            return attrs.evolve(kept, renew_at=now + AWAY_RETRY_S)  # asked for again later; this one still counts
        token = self._tokens[key] = _token(answer, seconds, now)
        if order.copies is not None:
            order.copies.keep_token(key[0], _name(key), {"token": token.text, "expiration": token.expiration})
        return token

    def forget(self, uid: str) -> None:
        self._tokens = {key: token for key, token in self._tokens.items() if key[0] != uid}

    def _copy(self, order: Order, key: tuple[str, str, str, int]) -> Token | None:
        found = order.copies.find_token(key[0], _name(key)) if order.copies is not None else None
        return Token(str(found["token"]), 0.0, 0.0, str(found["expiration"])) if found else None


def _name(key: tuple[str, str, str, int]) -> str:
    return " ".join(map(str, key[1:]))


def _nothing() -> Token:
    return Token("", 0.0, 0.0, wallclock.now_rfc3339())


def _token(answer: Object, asked_s: int, now: float) -> Token:
    life_s = float((answer.get("spec") or {}).get("expirationSeconds") or asked_s)
    return Token(answer["status"]["token"], now + min(life_s * OLD_AT, OLDEST_S), now + life_s, answer["status"]["expirationTimestamp"])


async def _request(order: Order, seconds: int, audience: str) -> Object:
    pod = order.pod
    account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
    bound = {"apiVersion": "v1", "kind": "Pod", "name": objects.name(pod), "uid": objects.uid(pod)}
    spec = {"expirationSeconds": seconds, "boundObjectRef": bound, **({"audiences": [audience]} if audience else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return await order.client.create(kinds.SERVICE_ACCOUNT, body, objects.namespace(pod), name=account, subresource="token")
