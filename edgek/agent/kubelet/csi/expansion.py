"""A volume that grew: the node's part of it, and the claim's status that tells of it.

The controller's part is done when the PersistentVolume says more than the claim's status does. Then the driver is asked to make the file system as
large, and the claim's status moves along; a driver that has nothing to do on the node is not asked.
"""

from __future__ import annotations

from edgek.agent.kubelet.resources import number
from edgek.client.client import Client
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

PENDING = ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")


def wanted(capacity: str, claim: Object, known_bytes: float | None) -> bool:
    """``capacity`` is the PersistentVolume's; ``known_bytes`` what it was when it was last made to fit here, None after a restart."""
    shown = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    if not capacity or not shown:
        return False
    return number(capacity) > (known_bytes if known_bytes is not None else number(shown))


def grown(claim: Object, capacity: str) -> Object:
    """The status of a claim whose volume has that capacity everywhere."""
    status = claim.get("status") or {}
    left = {key: value for key, value in (status.get("allocatedResourceStatuses") or {}).items() if key != "storage"}
    conditions = [each for each in status.get("conditions") or () if each["type"] not in PENDING]
    return {
        **{key: value for key, value in status.items() if key not in ("conditions", "allocatedResourceStatuses")},
        "capacity": {**(status.get("capacity") or {}), "storage": capacity},
        **({"conditions": conditions} if conditions else {}),
        **({"allocatedResourceStatuses": left} if left else {}),
    }


async def tell(client: Client, claim: Object, capacity: str) -> None:
    """Write it, unless the claim has it. Raises ApiError, Disconnected."""
    while True:
        shown = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
        if shown and number(shown) >= number(capacity):
            return
        before, after = claim.get("status") or {}, grown(claim, capacity)
        gone = {key: None for key in before if key not in after}  # a merge patch takes away by null
        patch = {"metadata": {"resourceVersion": objects.revision(claim)}, "status": {**after, **gone}}
        try:
            await client.patch(kinds.PERSISTENT_VOLUME_CLAIM, objects.name(claim), patch, objects.namespace(claim), subresource="status")
        except errors.Conflict:
            claim = await client.get(kinds.PERSISTENT_VOLUME_CLAIM, objects.name(claim), objects.namespace(claim))
        else:
            return
