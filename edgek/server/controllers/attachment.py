"""Volumes that must be attached to a node before it can use them: VolumeAttachments come when the first pod does and go after the last.

The driver's external-attacher does what they say. A volume is taken from a node that lives only when the node says that it no longer uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import trio

from edgek.client.reconcile import Cluster, Watch
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import views
from edgek.server.controllers.nodetaints import OUT_OF_SERVICE
from edgek.server.controllers.views import PodView

FORCE_S = 360.0  # upstream's: so long a node that does not answer may keep what nobody on it wants
EXCLUSIVE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@attrs.frozen
class User:
    """A node, as far as attaching depends on it."""

    name: str
    in_use: frozenset[str]
    attached: tuple[str, ...]
    is_ready: bool
    is_out_of_service: bool


def user(node: Object) -> User:
    status, taints = node.get("status") or {}, (node.get("spec") or {}).get("taints") or ()
    return User(
        objects.name(node),
        frozenset(status.get("volumesInUse") or ()),
        tuple(each.get("name", "") for each in status.get("volumesAttached") or ()),
        objects.condition_is(node, "Ready"),
        any(taint.get("key") == OUT_OF_SERVICE for taint in taints),
    )


class AttachmentController:
    name: ClassVar[str] = "attachment"
    account: ClassVar[str] = "attachdetach-controller"
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("attachdetach-controller")
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._claims = cluster.informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.whole)
        self._volumes = cluster.informers.of(kinds.PERSISTENT_VOLUME, views.whole)
        self._nodes = cluster.informers.of(kinds.NODE, user)
        self._drivers = cluster.informers.of(kinds.CSI_DRIVER, needs_attaching)
        self._attachments = cluster.informers.of(kinds.VOLUME_ATTACHMENT, views.whole)
        self._unwanted: dict[str, float] = {}  # by attachment: since when nobody on its node wants the volume
        self._told: set[str] = set()  # uids of attachments whose pods have been told of the success
        self._showing = trio.Lock()  # two of one node would overwrite each other's list

    def watches(self) -> Sequence[Watch]:
        self._pods.add_index("claim", lambda pod: [f"{pod.namespace}/{claim}" for claim in pod.claims])
        self._attachments.add_index("volume", lambda each: [_volume_of(each)])
        self._attachments.add_index("node", lambda each: [each["spec"].get("nodeName", "")])
        return [
            Watch(self._pods, self._keys_of_pod),
            Watch(self._claims, lambda key, old, new: [(new or old)["spec"].get("volumeName") or ""]),
            Watch(self._volumes, lambda key, old, new: [key]),
            Watch(self._attachments, self._keys_of_attachment),
            Watch(self._drivers, lambda key, old, new: [name for name, each in self._volumes.items.items() if _driver(each) == key]),
            Watch(self._nodes, lambda key, old, new: [_volume_of(each) for each in self._attachments.by_index("node", key)]),
        ]

    def _keys_of_attachment(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        if old is not None and new is None:
            self._unwanted.pop(key, None)
            self._told.discard(objects.uid(old))
        shown = new or old
        return [_volume_of(shown)] if shown is not None else []

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        for pod in filter(None, (old, new)):
            for claim in filter(None, (self._claims.get(f"{pod.namespace}/{name}") for name in pod.claims)):
                yield claim["spec"].get("volumeName") or ""

    async def reconcile(self, key: str) -> float | None:
        """``key`` is the name of a PersistentVolume."""
        volume, ours = self._volumes.get(key), [each for each in self._attachments.by_index("volume", key) if _is_ours(each)]
        if volume is None and not ours:
            return None
        users = self._users(volume) if volume is not None else {}
        pauses = [await self._keep(each, users.get(each["spec"]["nodeName"], [])) for each in ours]
        if volume is not None:
            there = {each["spec"]["nodeName"] for each in ours}
            for node, pods in users.items():
                if node not in there:
                    await self._attach(volume, node, pods, there)
        return min((each for each in pauses if each is not None), default=None)

    def _users(self, volume: Object) -> dict[str, list[PodView]]:
        """Pods that want it, by node; none where the driver needs no attaching."""
        driver, reference = _driver(volume), volume["spec"].get("claimRef") or {}
        if not driver or self._drivers.get(driver) is False:
            return {}
        key = f"{reference.get('namespace')}/{reference.get('name')}"
        claim, found = self._claims.get(key), dict[str, list[PodView]]()
        if claim is None or objects.uid(claim) != reference.get("uid") or claim["spec"].get("volumeName") != objects.name(volume):
            return {}
        for pod in self._pods.by_index("claim", key):
            if pod.node and not pod.finished:
                found.setdefault(pod.node, []).append(pod)
        return found

    async def _attach(self, volume: Object, node: str, pods: list[PodView], there: set[str]) -> None:
        if there and set(volume["spec"].get("accessModes") or ()) <= EXCLUSIVE:
            why = "Volume is already exclusively attached to one node and can't be attached to another"
            self._tell(pods, "FailedAttachVolume", f'Multi-Attach error for volume "{objects.name(volume)}" {why}')
            return
        spec = {"attacher": _driver(volume), "nodeName": node, "source": {"persistentVolumeName": objects.name(volume)}}
        name = attachment_name(_driver(volume), volume["spec"]["csi"].get("volumeHandle", ""), node)
        try:
            await self._cluster.create(self._attachments, {"metadata": {"name": name}, "spec": spec})
        except errors.AlreadyExists:
            return
        there.add(node)

    async def _keep(self, attachment: Object, pods: list[PodView]) -> float | None:
        """Tell what becomes of one that is wanted; let go of one that is not. Seconds after which to look again."""
        name, status = objects.name(attachment), attachment.get("status") or {}
        await self._show(attachment, attached=bool(status.get("attached")))
        if objects.is_deleting(attachment):
            self._unwanted.pop(name, None)
            self._told.discard(objects.uid(attachment))
            return None
        if pods:
            self._unwanted.pop(name, None)
            self._tell_progress(attachment, pods)
            return None
        since = self._unwanted.setdefault(name, trio.current_time())
        wait_s = self._wait_s(attachment, trio.current_time() - since)
        if wait_s == 0:
            self._unwanted.pop(name, None)
            await self._cluster.delete(self._attachments, name, objects.uid(attachment))
        return wait_s or None

    def _wait_s(self, attachment: Object, waited_s: float) -> float | None:
        """0: it may go. None: not until the node says so."""
        node, volume = self._nodes.get(attachment["spec"]["nodeName"]), self._volumes.get(_volume_of(attachment))
        if node is not None and (node.is_out_of_service or (volume is not None and _unique_name(volume) not in node.in_use)):
            return 0.0
        if volume is None:
            return 0.0
        return None if node is not None and node.is_ready else max(0.0, FORCE_S - waited_s)

    async def _show(self, attachment: Object, *, attached: bool) -> None:
        """On the node, which is how its kubelet hears of it."""
        async with self._showing:
            await self._show_alone(attachment, attached=attached)

    async def _show_alone(self, attachment: Object, *, attached: bool) -> None:
        node, volume = self._nodes.get(attachment["spec"]["nodeName"]), self._volumes.get(_volume_of(attachment))
        if node is None or volume is None:
            return
        name, shows = _unique_name(volume), attached and not objects.is_deleting(attachment)
        if shows == (name in node.attached):
            return
        names = [*(each for each in node.attached if each != name), *([name] if shows else [])]
        patch = {"status": {"volumesAttached": [{"name": each, "devicePath": ""} for each in names] or None}}
        try:
            await self._cluster.patch(self._nodes, node.name, patch, subresource="status")
        except errors.NotFound:
            return

    def _tell_progress(self, attachment: Object, pods: list[PodView]) -> None:
        name, status, uid = _volume_of(attachment), attachment.get("status") or {}, objects.uid(attachment)
        if status.get("attached"):
            if uid not in self._told:
                self._tell(pods, "SuccessfulAttachVolume", f'AttachVolume.Attach succeeded for volume "{name}" ')
            self._told.add(uid)
        elif status.get("attachError"):
            self._tell(pods, "FailedAttachVolume", f'AttachVolume.Attach failed for volume "{name}" : {status["attachError"].get("message", "")}')

    def _tell(self, pods: list[PodView], reason: str, message: str) -> None:
        for pod in pods:
            say = self._events.normal if reason.startswith("Successful") else self._events.warning
            say(kinds.POD, pod.reference(), reason, message)


def attachment_name(driver: str, handle: str, node: str) -> str:
    """Upstream's, by which kubelets look for it."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def needs_attaching(driver: Object) -> bool:
    """Of a CSIDriver. A driver that has none needs it, too."""
    return (driver.get("spec") or {}).get("attachRequired") is not False


def _is_ours(attachment: Object) -> bool:
    """Others make attachments for purposes of their own."""
    return objects.name(attachment).startswith("csi-")


def _volume_of(attachment: Mapping[str, Any]) -> str:
    return str((attachment["spec"].get("source") or {}).get("persistentVolumeName") or "")


def _driver(volume: Object) -> str:
    return str((volume["spec"].get("csi") or {}).get("driver") or "")


def _unique_name(volume: Object) -> str:
    """As nodes name it."""
    csi = volume["spec"].get("csi") or {}
    return f"kubernetes.io/csi/{csi.get('driver')}^{csi.get('volumeHandle')}"
