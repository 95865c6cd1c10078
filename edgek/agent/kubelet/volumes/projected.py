"""projected: several sources in one folder; among them the service account token that is bound to the pod (``tokens.py``)."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import trio

from edgek.agent.kubelet.volumes import contents, payload
from edgek.agent.kubelet.volumes.payload import Entry
from edgek.agent.kubelet.volumes.tokens import Token, Tokens
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.model import kinds

JITTER_S = 10.0  # pods that started together do not ask together
TOKEN_MODE = 0o600


class Projected:
    field: ClassVar[str] = "projected"

    def __init__(self) -> None:
        self._tokens = Tokens()

    async def build(self, order: Order) -> Ready:
        source = order.volume["projected"]
        mode = contents.mode_of(source)
        entries: dict[str, Entry] = {}
        again: list[float] = []
        for part in source.get("sources") or ():
            if part.get("serviceAccountToken"):
                token = await self._token(order, part["serviceAccountToken"])
                again.append(token.renew_at)
                entries[part["serviceAccountToken"]["path"]] = _token_entry(order, token.text, mode)
            else:
                entries |= await _part(order, part, mode)
        order.path.mkdir(parents=True, exist_ok=True)
        order.mounter.tmpfs(order.path)
        order.path.chmod(0o777)
        payload.write(order.path, entries, order.fs_group)
        again_s = max(1.0, min(again) - trio.current_time() + random.uniform(0, JITTER_S)) if again else None
        return Ready(order.path, again_s, read_only=True)

    def forget(self, uid: str) -> None:
        self._tokens.forget(uid)

    async def _token(self, order: Order, source: Any) -> Token:
        return await self._tokens.get(order, int(source.get("expirationSeconds") or 3600), source.get("audience") or "")


def _token_entry(order: Order, text: str, mode: int) -> Entry:
    """For the pod's group where it has one, and for the one user that all containers run as; where they differ, with the volume's own mode."""
    spec = order.pod.get("spec") or {}
    shared = (spec.get("securityContext") or {}).get("runAsUser")
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    users = {(c.get("securityContext") or {}).get("runAsUser", shared) for c in every}
    owner = users.pop() if len(users) == 1 else None
    private = owner is not None or order.fs_group is not None
    return Entry(text.encode(), TOKEN_MODE if private else mode, owner)


async def _part(order: Order, part: Any, mode: int) -> dict[str, Entry]:
    if part.get("configMap"):
        return await contents.of_object(order, kinds.CONFIG_MAP, part["configMap"]["name"], part["configMap"], mode)
    if part.get("secret"):
        return await contents.of_object(order, kinds.SECRET, part["secret"]["name"], part["secret"], mode)
    if part.get("downwardAPI"):
        return contents.of_downward(order, part["downwardAPI"].get("items"), mode)
    raise VolumeFailed(f"projected source {', '.join(part)} is not supported")
