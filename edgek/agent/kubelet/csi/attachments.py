"""Volumes that must be attached to this node before they can be used: the node says which it uses, and waits until others have attached them.

``status.volumesInUse`` of the Node is what keeps the attach-detach controller from taking a volume away; it is written before anything is done with
the volume, and only when it changes. That controller makes a VolumeAttachment, the driver's attacher fulfils it, and ``status.volumesAttached``
tells us to look at it: nothing is polled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from edgek.agent.kubelet.csi.places import Record
from edgek.agent.kubelet.volumes.volume import VolumeFailed
from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.host import log
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

WAIT_MOST_S = 10.0  # then the pod says what it waits for, and asks again
LOOK_AGAIN_S = 1.0  # at the attachment, where nobody writes volumesAttached
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0
WAIT = "WaitForAttach"  # upstream's name of the step


def attachment_name(driver: str, handle: str, node: str) -> str:
    """The VolumeAttachment's, as upstream's attach-detach controller names it."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def unique_name(record: Record) -> str:
    """The volume's, in a Node's status."""
    return f"kubernetes.io/csi/{record.driver}^{record.handle}"


class Attachments:
    """``in_use`` gives the unique names of attached volumes that the node has or is about to have; ``wake(uid)`` is called for pods that waited."""

    def __init__(self, client: Client, node_name: str, in_use: Callable[[], Awaitable[Sequence[str]]], wake: Callable[[str], None]) -> None:
        self._client = client
        self._node_name = node_name
        self._in_use = in_use
        self._wake = wake
        self._waiting: set[str] = set()  # pods that gave up waiting for an attachment
        self._attached: object = None  # what the Node shows
        self._shown: tuple[str, ...] | None = None  # volumesInUse, as far as we know
        self._work = trio.Event()
        self._moved = trio.Event()  # set, and replaced, when the Node or what we know of it changed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the Node's status saying what is in use."""
        task_status.started()
        pause_s = RETRY_FIRST_S
        while True:
            await self._work.wait()
            self._work = trio.Event()
            try:
                await self._report()
                pause_s = RETRY_FIRST_S
            except (errors.ApiError, Disconnected) as exc:
                log.warning("cannot say which volumes are in use", error=exc, retry_s=pause_s)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)
                self._work.set()

    def changed(self) -> None:
        """What is in use may be other volumes now."""
        self._work.set()

    def node_changed(self, node: Object) -> None:
        """The API shows our Node anew: another one perhaps, that knows nothing."""
        shown = tuple((node.get("status") or {}).get("volumesInUse") or ())
        if shown != self._shown:
            self._shown = shown
            self._work.set()
        before, self._attached = self._attached, (node.get("status") or {}).get("volumesAttached")
        if self._attached != before:
            waiting, self._waiting = self._waiting, set()
            for uid in waiting:
                self._wake(uid)
        self._move()

    async def context(self, record: Record, uid: str) -> Mapping[str, str]:
        """What the attacher says of the volume that it attached, for this pod. Waits for it; raises VolumeFailed, Disconnected."""
        name, why = unique_name(record), ""
        self._work.set()
        with trio.move_on_after(WAIT_MOST_S):
            while True:
                moved = self._moved
                if name not in (self._shown or ()):
                    why = "it is not yet in the node's volumesInUse"
                    await moved.wait()
                    continue
                found = await self._find(record)
                status = (found or {}).get("status") or {}
                if found and status.get("attached") and not objects.is_deleting(found):
                    return dict(status.get("attachmentMetadata") or {})
                why = (status.get("attachError") or {}).get("message") or f"VolumeAttachment {record.attachment} is not attached"
                with trio.move_on_after(LOOK_AGAIN_S):
                    await moved.wait()
        self._waiting.add(uid)
        message = f"timed out waiting for external-attacher of {record.driver} CSI driver to attach volume {record.handle}: {why}"
        raise VolumeFailed(message, record.name, WAIT)

    async def _find(self, record: Record) -> Object | None:
        try:
            return await self._client.find(kinds.VOLUME_ATTACHMENT, record.attachment)
        except errors.Forbidden:
            return None  # a node may only read those that are there and its own
        except errors.ApiError as exc:
            raise VolumeFailed(str(exc), record.name, WAIT) from None

    async def _report(self) -> None:
        wanted = tuple(sorted(await self._in_use()))
        if wanted != (self._shown or ()):
            await self._client.patch(kinds.NODE, self._node_name, {"status": {"volumesInUse": list(wanted)}}, subresource="status")
        self._shown = wanted
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
