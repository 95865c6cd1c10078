"""What a driver is told of a volume: the requests, made of the volume, its pod, and the objects that these name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgek.agent.kubelet.csi import source
from edgek.agent.kubelet.csi.drivers import Driver
from edgek.agent.kubelet.csi.places import Places, Record
from edgek.agent.kubelet.csi.source import SecretRef, Source
from edgek.agent.kubelet.environment import contents
from edgek.agent.kubelet.resources import number
from edgek.agent.kubelet.volumes.tokens import Tokens
from edgek.agent.kubelet.volumes.volume import Order, VolumeFailed
from edgek.csi import messages
from edgek.host.message import Values
from edgek.host.mount import Mounter
from edgek.model import kinds, objects
from edgek.model.objects import Object

TOKEN_S = 3600  # the life of a token for which the driver names none


class Requests:
    """Raises VolumeFailed where something is missing, RpcError where the driver does not say what it can."""

    def __init__(self, places: Places, mounter: Mounter) -> None:
        self._places = places
        self._mounter = mounter
        self._tokens = Tokens()

    def forget(self, uid: str) -> None:
        self._tokens.forget(uid)

    def is_there(self, path: Path) -> bool:
        """Never a question to a file system that is mounted there: its server may be dead."""
        return self._mounter.is_mounted(path) or os.path.lexists(path)

    async def stage(self, driver: Driver, order: Order, wanted: Source, record: Record) -> Values:
        return {
            "volume_id": wanted.handle,
            "publish_context": record.context,
            "staging_target_path": str(self._places.staging(record)),
            "volume_capability": await self._capability(driver, order, wanted),
            "secrets": await self._secrets(order, wanted.stage_secret),
            "volume_context": dict(wanted.attributes),
        }

    async def publish(self, driver: Driver, order: Order, wanted: Source, spec: Object, record: Record) -> Values:
        """``spec`` is the CSIDriver's."""
        context, secrets = dict(wanted.attributes), await self._secrets(order, wanted.publish_secret)
        if spec.get("podInfoOnMount"):
            context |= source.pod_info(order.pod, inline=wanted.inline)
        (secrets if spec.get("serviceAccountTokenInSecrets") else context).update(await self._tokens_for(order, spec))
        return {
            "volume_id": wanted.handle,
            "publish_context": record.context,
            "staging_target_path": self._staging(record),
            "target_path": str(self._places.share(record, objects.uid(order.pod)).target),
            "volume_capability": await self._capability(driver, order, wanted),
            "readonly": wanted.read_only,
            "secrets": secrets,
            "volume_context": context,
        }

    async def expand(self, driver: Driver, order: Order, wanted: Source, record: Record) -> Values:
        return {
            "volume_id": wanted.handle,
            "volume_path": str(self._places.share(record, objects.uid(order.pod)).target),
            "capacity_range": {"required_bytes": int(number(wanted.capacity))},
            "staging_target_path": self._staging(record),
            "volume_capability": await self._capability(driver, order, wanted),
            "secrets": await self._secrets(order, wanted.expand_secret),
        }

    def _staging(self, record: Record) -> str:
        if record.inline:
            return ""
        staging = self._places.staging(record)
        return str(staging) if self.is_there(staging) else ""

    async def _capability(self, driver: Driver, order: Order, wanted: Source) -> Mapping[str, Any]:
        group = str(order.fs_group) if order.fs_group is not None and await driver.can(messages.NODE_CAN_MOUNT_GROUP) else ""
        return source.capability(wanted, multi_writer=await driver.can(messages.NODE_CAN_SINGLE_NODE_MULTI_WRITER), group=group)

    async def _secrets(self, order: Order, ref: SecretRef | None) -> dict[str, str]:
        if ref is None:
            return {}
        found = await order.find(kinds.SECRET, ref.name, ref.namespace)
        if found is None:
            raise VolumeFailed(f'failed to find the secret {ref.name} in the namespace {ref.namespace} with error: secrets "{ref.name}" not found')
        return {key: value.decode(errors="replace") for key, value in contents(found).items()}

    async def _tokens_for(self, order: Order, spec: Object) -> dict[str, str]:
        given = {}
        for each in spec.get("tokenRequests") or ():
            audience = each.get("audience") or ""
            token = await self._tokens.get(order, int(each.get("expirationSeconds") or TOKEN_S), audience)
            given[audience] = (token.text, token.expiration)
        return source.tokens(given) if given else {}
