"""What a volume asks of its driver, read from a PersistentVolume or from a pod: values, and the messages made of them. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from edgek.agent.kubelet.csi.places import Record
from edgek.csi import messages
from edgek.host.message import Values
from edgek.model import objects
from edgek.model.objects import Object

POD_INFO = "csi.storage.k8s.io"
TOKENS_KEY = f"{POD_INFO}/serviceAccount.tokens"
SINGLE_WRITERS = ("ReadWriteOnce", "ReadWriteOncePod")


@attrs.frozen
class SecretRef:
    namespace: str
    name: str


@attrs.frozen
class Source:
    """``name`` as in ``Record``. ``capacity`` is the PersistentVolume's, ``mode`` its first access mode."""

    driver: str
    handle: str
    name: str
    inline: bool = False
    block: bool = False
    read_only: bool = False
    fs_type: str = ""
    mode: str = "ReadWriteOnce"
    modes: tuple[str, ...] = ()
    mount_options: tuple[str, ...] = ()
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    capacity: str = ""
    stage_secret: SecretRef | None = None
    publish_secret: SecretRef | None = None
    expand_secret: SecretRef | None = None

    def record(self, node: str, attachment: str = "") -> Record:
        return Record(self.driver, self.handle, self.name, node, attachment, self.inline, self.block)


def of_volume(volume: Object, *, read_only: bool) -> Source:
    """A PersistentVolume with ``spec.csi``. ``read_only`` is what the pod says."""
    spec = volume["spec"]
    csi, modes = spec["csi"], tuple(spec.get("accessModes") or ())
    return Source(
        csi["driver"],
        csi["volumeHandle"],
        objects.name(volume),
        block=spec.get("volumeMode") == "Block",
        read_only=read_only,
        fs_type=csi.get("fsType") or "",
        mode=modes[0] if modes else "ReadWriteOnce",
        modes=modes,
        mount_options=tuple(spec.get("mountOptions") or ()),
        attributes=csi.get("volumeAttributes") or {},
        capacity=(spec.get("capacity") or {}).get("storage") or "",
        stage_secret=_secret(csi.get("nodeStageSecretRef")),
        publish_secret=_secret(csi.get("nodePublishSecretRef")),
        expand_secret=_secret(csi.get("nodeExpandSecretRef")),
    )


def of_inline(pod: Object, volume: Object) -> Source:
    """``csi`` in the pod itself: a volume that lives as long as the pod."""
    csi, name = volume["csi"], str(volume["name"])
    secret = csi.get("nodePublishSecretRef")
    return Source(
        csi["driver"],
        "csi-" + hashlib.sha256(f"{objects.uid(pod)}{name}".encode()).hexdigest(),
        name,
        inline=True,
        read_only=bool(csi.get("readOnly")),
        fs_type=csi.get("fsType") or "",
        attributes=csi.get("volumeAttributes") or {},
        publish_secret=SecretRef(objects.namespace(pod), secret["name"]) if secret else None,
    )


def _secret(found: Mapping[str, Any] | None) -> SecretRef | None:
    return SecretRef(found.get("namespace") or "", found["name"]) if found and found.get("name") else None


def capability(source: Source, *, multi_writer: bool, group: str = "") -> Values:
    """``multi_writer``: the driver tells apart one pod and several on a node. ``group`` is for a driver that gives the files to it by itself."""
    if multi_writer:
        once = {"ReadWriteOnce": messages.SINGLE_NODE_MULTI_WRITER, "ReadWriteOncePod": messages.SINGLE_NODE_SINGLE_WRITER}
    else:
        once = {"ReadWriteOnce": messages.SINGLE_NODE_WRITER, "ReadWriteOncePod": messages.SINGLE_NODE_WRITER}
    mode = {**once, "ReadOnlyMany": messages.MULTI_NODE_READER_ONLY, "ReadWriteMany": messages.MULTI_NODE_MULTI_WRITER}.get(source.mode, 0)
    if source.block:
        return {"block": {}, "access_mode": {"mode": mode}}
    mount = {"fs_type": source.fs_type, "mount_flags": list(source.mount_options), "volume_mount_group": group}
    return {"mount": mount, "access_mode": {"mode": mode}}


def pod_info(pod: Object, *, inline: bool) -> dict[str, str]:
    return {
        f"{POD_INFO}/pod.name": objects.name(pod),
        f"{POD_INFO}/pod.namespace": objects.namespace(pod),
        f"{POD_INFO}/pod.uid": objects.uid(pod),
        f"{POD_INFO}/serviceAccount.name": (pod.get("spec") or {}).get("serviceAccountName") or "",
        f"{POD_INFO}/ephemeral": "true" if inline else "false",
    }


def tokens(given: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """By audience: the token and when it ends."""
    return {TOKENS_KEY: json.dumps({audience: {"token": text, "expirationTimestamp": end} for audience, (text, end) in given.items()})}


def group_is_ours_to_give(source: Source, policy: str) -> bool:
    """Whether the CSIDriver's fsGroupPolicy lets the kubelet change who owns the volume's files."""
    if source.block or source.read_only or policy == "None":
        return False
    if policy == "File":
        return True
    if not source.fs_type:
        return False
    return source.inline or any(mode in SINGLE_WRITERS for mode in source.modes)


def lifecycle_problem(source: Source, lifecycles: Sequence[str] | None) -> str:
    """Why the driver does not have volumes of this sort; empty when it does. ``lifecycles`` is None where there is no CSIDriver."""
    wanted, has = "Ephemeral" if source.inline else "Persistent", list(lifecycles or ()) or ["Persistent"]
    if wanted in has:
        return ""
    shown = " ".join(f'"{each}"' for each in has)
    why = "no CSIDriver object" if lifecycles is None else f"only supports [{shown}]"
    return f'volume mode "{wanted}" not supported by driver {source.driver} ({why})'
