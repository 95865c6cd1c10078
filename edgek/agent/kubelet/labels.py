"""What the kubelet writes on sandboxes and containers, so that it finds its pods again when it has forgotten everything.

The names are upstream's: tools that look at containerd know them. What upstream keeps in memory has names of ours.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from edgek.model import objects
from edgek.model.objects import Object

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP = "io.kubernetes.container.preStopHandler"
GRACE = "io.kubernetes.pod.terminationGracePeriod"
BACK_OFF = "edgek.io/back-off"  # seconds that its successor has to wait after this container's end
GROUP = "edgek.io/container-group"  # init, sidecar, regular, ephemeral
MESSAGE_FILE = "edgek.io/termination-message-file"  # where on the node the message can be read

STATIC_SOURCE = "kubernetes.io/config.source"
STATIC_HASH = "kubernetes.io/config.hash"
STATIC_MIRROR = "kubernetes.io/config.mirror"
STATIC_SEEN = "kubernetes.io/config.seen"


def of_sandbox(pod: Object) -> dict[str, str]:
    return {**objects.labels(pod), POD_NAME: objects.name(pod), POD_NAMESPACE: objects.namespace(pod), POD_UID: objects.uid(pod)}


def of_container(pod: Object, name: str) -> dict[str, str]:
    return {
        POD_NAME: objects.name(pod),
        POD_NAMESPACE: objects.namespace(pod),
        POD_UID: objects.uid(pod),
        CONTAINER_NAME: name,
    }


def container_hash(spec: Object) -> str:
    """Changes when a running container must be replaced: its name and image; the rest of a container cannot change, or changes in place."""
    return hashlib.sha256(orjson.dumps([spec["name"], spec.get("image", "")])).hexdigest()[:8]


def container_annotations(pod: Object, spec: Object, group: str, attempt: int, back_off_s: float, message_file: str) -> dict[str, str]:
    found = {
        HASH: container_hash(spec),
        RESTART_COUNT: str(attempt),
        MESSAGE_PATH: spec.get("terminationMessagePath") or "/dev/termination-log",
        MESSAGE_POLICY: spec.get("terminationMessagePolicy") or "File",
        BACK_OFF: f"{back_off_s:g}",
        GROUP: group,
        MESSAGE_FILE: message_file,
    }
    grace = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    if grace is not None:
        found[GRACE] = str(grace)
    pre_stop = (spec.get("lifecycle") or {}).get("preStop")
    if pre_stop:
        found[PRE_STOP] = orjson.dumps(pre_stop).decode()
    return found


def number(annotations: Any, key: str, default: float = 0) -> float:
    try:
        return float(annotations.get(key, default))
    except ValueError:
        return default
