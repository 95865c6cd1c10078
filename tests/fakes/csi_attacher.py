"""A stand-in for the external-attacher of a third-party driver: it fulfils VolumeAttachments through the driver's own socket, when it is asked to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from edgek.csi import messages
from edgek.host.message import Values
from edgek.host.rpc import Channel, Method
from tests.e2e.cluster import Cluster, Failed

CAPABILITY = {"mount": {}, "access_mode": {"mode": messages.SINGLE_NODE_WRITER}}
WAIT_S = 60.0


def ask(socket: Path, method: Method, request: Mapping[str, Any]) -> Values:
    """One call of a driver."""

    async def call() -> Values:
        channel = Channel(f"unix://{socket}")
        try:
            return await channel.call(method, request, timeout_s=WAIT_S)
        finally:
            channel.close()

    return trio.run(call)


def attach(cluster: Cluster, driver: str, socket: Path, node_id: str) -> None:
    """Do what is to do now, once."""
    finalizer = f"external-attacher/{driver.replace('.', '-')}"
    for found in cluster.get("volumeattachments")["items"]:
        name, meta = found["metadata"]["name"], found["metadata"]
        if found["spec"]["attacher"] != driver:
            continue
        handle = cluster.get("pv", found["spec"]["source"]["persistentVolumeName"])["spec"]["csi"]["volumeHandle"]
        if "deletionTimestamp" in meta:
            ask(socket, messages.CONTROLLER_UNPUBLISH_VOLUME, {"volume_id": handle, "node_id": node_id})
            _patch(cluster, name, {"metadata": {"finalizers": None}})
        elif not (found.get("status") or {}).get("attached"):
            _patch(cluster, name, {"metadata": {"finalizers": [finalizer]}})
            answer = ask(socket, messages.CONTROLLER_PUBLISH_VOLUME, {"volume_id": handle, "node_id": node_id, "volume_capability": CAPABILITY})
            status = {"attached": True, "attachmentMetadata": answer["publish_context"]}
            _patch(cluster, name, {"status": status}, "--subresource=status")


def _patch(cluster: Cluster, name: str, patch: Any, *more: str) -> None:
    try:
        cluster.kubectl("patch", "volumeattachment", name, "--type=merge", "-p", json.dumps(patch), *more)
    except Failed as exc:
        if "NotFound" not in str(exc):
            raise
