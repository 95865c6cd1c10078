"""Static pods: manifests in a folder of the node, run without being asked by anybody, also while no server can be reached."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import orjson
import trio

from edgek.agent.kubelet import labels
from edgek.agent.kubelet.loop import Kubelet
from edgek.host import log, wallclock, watch
from edgek.model import objects
from edgek.model.objects import Object

SUFFIXES = (".yaml", ".yml", ".json")
EVERYTHING = watch.CLOSED | watch.MOVED_IN | watch.MOVED_OUT | watch.DELETED


class BadManifest(ValueError):
    """The file is not one Pod. The message says what is wrong with it."""


async def run(kubelet: Kubelet, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Keep the pods of the manifests folder running, for ever. A file that is not a Pod is reported once and left out."""
    folder = kubelet.settings.manifests_dir
    folder.mkdir(parents=True, exist_ok=True)
    present: dict[str, str] = {}  # file name -> uid
    told: dict[str, str] = {}  # file name -> what is wrong with it
    async with trio.open_nursery() as nursery:
        with watch.folder(folder, EVERYTHING) as changes:
            _look(kubelet, folder, present, told, nursery)
            task_status.started()
            async for _ in changes:
                _look(kubelet, folder, present, told, nursery)


def _look(kubelet: Kubelet, folder: Path, present: dict[str, str], told: dict[str, str], nursery: trio.Nursery) -> None:
    bad: dict[str, str] = {}
    found = read_all(folder, kubelet.settings.node_name, bad)
    for name, why in bad.items():
        if told.get(name) != why:
            log.warning("manifest left out", file=folder / name, error=why)
    told.clear()
    told.update(bad)
    for name, uid in list(present.items()):
        if name not in found or objects.uid(found[name]) != uid:
            del present[name]
            kubelet.statics.drop(uid)
    for name, pod in found.items():
        if name not in present:
            present[name] = objects.uid(pod)
            nursery.start_soon(kubelet.statics.put, pod)


def read_all(folder: Path, node_name: str, bad: dict[str, str]) -> dict[str, Object]:
    """The pods of all good manifests, by file name; what is wrong with the others goes into ``bad``."""
    found: dict[str, Object] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix in SUFFIXES and not file.name.startswith("."):
            try:
                found[file.name] = pod_of(file.read_bytes(), str(file), node_name)
            except (BadManifest, OSError) as exc:
                bad[file.name] = str(exc)
    return found


def pod_of(raw: bytes, path: str, node_name: str) -> Object:
    """The pod that a manifest asks for, with the name, uid and annotations that it gets here. Raises BadManifest."""
    obj = _decoded(raw)
    if not isinstance(obj, dict) or obj.get("kind") != "Pod" or obj.get("apiVersion") != "v1":
        raise BadManifest("it is not one Pod of apiVersion v1")
    pod = copy.deepcopy(obj)
    meta = objects.metadata(pod)
    if not meta.get("name") or not (pod.get("spec") or {}).get("containers"):
        raise BadManifest("metadata.name and spec.containers must be set")
    digest = hashlib.md5(raw + f"host:{node_name}file:{path}".encode(), usedforsecurity=False).hexdigest()
    meta["name"] = f"{meta['name']}-{node_name}".lower()
    meta.setdefault("namespace", "default")
    meta["uid"] = digest
    meta["annotations"] = {
        **(meta.get("annotations") or {}),
        labels.STATIC_HASH: digest,
        labels.STATIC_SOURCE: "file",
        labels.STATIC_SEEN: wallclock.now_micro(),
    }
    spec = pod["spec"]
    spec["nodeName"] = node_name
    spec["tolerations"] = [*(spec.get("tolerations") or ()), {"operator": "Exists", "effect": "NoExecute"}]
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("enableServiceLinks", True)
    pod.pop("status", None)
    return pod


def _decoded(raw: bytes) -> object:
    if raw.lstrip().startswith(b"{"):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            raise BadManifest(f"it is not JSON: {exc}") from None
    import yaml

    try:
        return yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as exc:
        raise BadManifest(f"it is not YAML: {exc}") from None
