"""All volumes of all pods: built before containers start, brought up to date when what they show changes, taken down at the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import attrs
import trio

from edgek.agent.kubelet.csi.storage import Storage
from edgek.agent.kubelet.environment import ConfigError, Surroundings, expand_all
from edgek.agent.kubelet.references import References, Unreachable
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.kubelet.volumes import local, nfs, sub_path
from edgek.agent.kubelet.volumes.lanes import ANSWER_MOST_S, Lanes
from edgek.agent.kubelet.volumes.projected import Projected
from edgek.agent.kubelet.volumes.table import VOLUMES
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.agent.runtime.runtime import Device, Mount
from edgek.client.client import Client
from edgek.host import log, trees
from edgek.host.message import Values
from edgek.host.mount import Mounter
from edgek.host.mount_table import mount_points
from edgek.host.worker import InLine, Worker
from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

FILE_THREADS = 4  # for folders of our own
LEFTOVER_FIRST_S = 1.0
LEFTOVER_MOST_S = 60.0
DRIVERS_FOLDER = "kubernetes.io~csi"
PLUGIN_FOLDERS = {"emptyDir": "empty-dir", "configMap": "configmap", "downwardAPI": "downward-api"}
PROPAGATION: Mapping[str, object] = {"HostToContainer": "host_to_container", "Bidirectional": "bidirectional"}


@attrs.frozen
class MountFailed(Exception):
    """One volume of a pod cannot be had now."""

    volume: str
    message: str

    step: str = "SetUp"

    def __str__(self) -> str:
        return f'MountVolume.{self.step} failed for volume "{self.volume}" : {self.message}'


class PodVolumes:
    def __init__(
        self,
        settings: KubeletSettings,
        client: Client,
        references: References,
        mounter: Mounter,
        storage: Storage,
        files: Worker | InLine | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._references = references
        self._mounter = mounter
        self._storage = storage
        self._files = files or Worker(FILE_THREADS)
        self._lanes = Lanes(files)
        self._types = {each.field: each() for each in VOLUMES}
        self._ready: dict[str, dict[str, Ready]] = {}  # by pod uid, by volume name

    async def build(self, pod: Object, around: Surroundings) -> float | None:
        """Make all volumes, or bring them up to date; seconds after which that must be done again. Raises MountFailed."""
        uid = objects.uid(pod)
        ready = self._ready.setdefault(uid, {})
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            ready[volume["name"]] = await self._build(pod, volume, around)
        return min((r.again_s for r in ready.values() if r.again_s is not None), default=None)

    async def _build(self, pod: Object, volume: Object, around: Surroundings) -> Ready:
        name = str(volume["name"])
        field = next((key for key in volume if key != "name"), "emptyDir")
        kind = self._types.get(field)
        if kind is None:
            raise MountFailed(name, f"volumes of type {field} are not supported on this node")

        async def find(kind: Kind, name: str, namespace: str = "") -> Object | None:
            return await self._references.get(kind, namespace or objects.namespace(pod), name, objects.uid(pod))

        path = self._folder(pod) / "volumes" / f"kubernetes.io~{PLUGIN_FOLDERS.get(field, field.lower())}" / name
        order = Order(
            pod,
            {"emptyDir": {}, **volume} if field == "emptyDir" else volume,
            path,
            around,
            find,
            self._client,
            self._mounter,
            self._lanes.of(objects.uid(pod), name),
            self._storage,
            self._references.offline,
            self._references.copies,
        )
        try:
            return await kind.build(order)
        except VolumeFailed as exc:
            raise MountFailed(exc.volume or name, str(exc), exc.step) from None
        except (Unreachable, OSError) as exc:
            raise MountFailed(name, str(exc)) from None

    async def mounts(self, pod: Object, container: Object, env: Mapping[str, str]) -> tuple[Mount, ...]:
        """The container's volumeMounts. Raises ConfigError."""
        ready = self._ready.get(objects.uid(pod), {})
        found = []
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            if mount["name"] not in ready:
                raise ConfigError(f"volume {mount['name']!r} of container {container['name']!r} is not mounted")
            volume = ready[mount["name"]]
            source = await self._part(pod, container, index, mount, volume.path, env)
            propagation = PROPAGATION.get(mount.get("mountPropagation") or "None", "private")
            read_only = volume.read_only or bool(mount.get("readOnly")) or _claim_read_only(pod, mount["name"])
            found.append(Mount(mount["mountPath"], str(source), read_only, propagation))  # type: ignore[arg-type]  # the table holds its words
        return tuple(found)

    def devices(self, pod: Object, container: Object) -> tuple[Device, ...]:
        """The container's volumeDevices. Raises ConfigError."""
        ready, found = self._ready.get(objects.uid(pod), {}), []
        for entry in container.get("volumeDevices") or ():
            path = ready[entry["name"]].path if entry["name"] in ready else None
            if path is None or not path.is_block_device():
                raise ConfigError(f"volume {entry['name']!r} of container {container['name']!r} is no block device")
            found.append(Device(entry["devicePath"], os.path.realpath(path)))
        return tuple(found)

    async def _part(self, pod: Object, container: Object, index: int, mount: Object, path: Path, env: Mapping[str, str]) -> Path:
        part = mount.get("subPath") or ""
        if mount.get("subPathExpr"):
            part = expand_all(mount["subPathExpr"], env)
        if not part:
            return path
        target = self._folder(pod) / "volume-subpaths" / mount["name"] / container["name"] / str(index)
        try:
            lane = self._lanes.of(objects.uid(pod), f"{mount['name']} in {container['name']}")
            return await lane.run(sub_path.bind, path, part, target, self._mounter, within_s=ANSWER_MOST_S)
        except (VolumeFailed, OSError) as exc:
            what = f'volumeMount "{mount["name"]}" of container "{container["name"]}"'
            raise ConfigError(f"failed to prepare subPath for {what}: {exc}") from None

    async def release_parts(self, pod: Object, container_name: str) -> None:
        """Give up the subPath mounts of a container that is over, so that its successor sees the volume as it is then. Raises OSError."""
        base = self._folder(pod) / "volume-subpaths"
        if base.is_dir():
            await self._files.run(self._release_parts, base, container_name)

    def _release_parts(self, base: Path, container_name: str) -> None:
        for target in base.glob(f"*/{container_name}/*"):
            self._mounter.unmount(target)

    def present(self, uid: str) -> bool:
        """Whether there is anything to unmount."""
        return (self._settings.pod_dir(uid) / "volumes").exists()

    async def unmount(self, uid: str) -> None:
        """Take down the pod's volumes; what is in its own goes. Raises OSError when something is in the way."""
        folder = self._settings.pod_dir(uid)
        await self._files.run(self._release, folder)
        await self._storage.take_down(uid)
        await self._files.run(self._remove, folder)
        self._ready.pop(uid, None)
        for kind in self._types.values():
            if isinstance(kind, Projected):
                kind.forget(uid)

    def _release(self, folder: Path) -> None:
        """Unmount what we mounted; what a driver did is for it to take away."""
        for point in sorted(self._mounted_below(folder), reverse=True):
            if not point.startswith(f"{folder}/volumes/{DRIVERS_FOLDER}/"):
                self._mounter.unmount(Path(point))

    def _remove(self, folder: Path) -> None:
        left = self._mounted_below(folder)
        if left:  # what is mounted there may be somebody's data: nothing is removed before all of it is gone
            raise OSError(errno.EBUSY, f"still mounted: {', '.join(left)}")
        for kept in (folder / "volumes" / DRIVERS_FOLDER, folder / "volumeDevices" / DRIVERS_FOLDER, folder / "volumeDevices"):
            if kept.exists():
                kept.rmdir()  # not empty: a driver's, and not ours to remove
        for kind in (nfs.FOLDER, local.FOLDER):
            _let_go(folder / "volumes" / kind)
        for part in ("volume-subpaths", "volumes"):
            trees.remove(folder / part)

    async def take_down(self, uid: str) -> None:
        """Unmount and remove everything of the pod on this node. Raises OSError."""
        await self.unmount(uid)
        await self._files.run(trees.remove, self._settings.pod_dir(uid))

    async def clear(self, known: Callable[[str], bool]) -> None:
        """Take down what pods left that nobody knows any more. Tries until nothing is left: a driver may come later than we."""
        pause_s = LEFTOVER_FIRST_S
        while not await self._cleared(known):
            await self._storage.change_or(pause_s)
            pause_s = min(2 * pause_s, LEFTOVER_MOST_S)

    async def _cleared(self, known: Callable[[str], bool]) -> bool:
        base, done = self._settings.kubelet_dir / "pods", True
        uids = {*(os.listdir(base) if base.is_dir() else ()), *await self._storage.users()}
        for uid in sorted(uids):
            if not known(uid):
                done &= await self._tried(self.take_down(uid), pod=uid)
        return await self._tried(self._storage.sweep()) and done

    async def _tried(self, attempt: Awaitable[None], **about: str) -> bool:
        try:
            await attempt
        except OSError as exc:
            log.warning("cannot remove what a pod left that is gone", error=exc, **about)
            return False
        return True

    async def usage(self, pod: Object) -> dict[str, Values]:
        """By the volume's name in the pod: what its driver says. Volumes that drivers did not bring are left out."""
        uid, found = objects.uid(pod), dict[str, Values]()

        async def ask(volume: str, name: str) -> None:
            said = await self._storage.usage(uid, name)
            if said is not None:
                found[volume] = said

        async with trio.open_nursery() as nursery:
            for volume, ready in self._ready.get(uid, {}).items():
                if ready.path.parent.parent.name == DRIVERS_FOLDER:
                    nursery.start_soon(ask, volume, ready.path.parent.name)
        return found

    def path_of(self, uid: str, volume: str) -> Path | None:
        ready = self._ready.get(uid, {}).get(volume)
        return ready.path if ready else None

    def _mounted_below(self, folder: Path) -> list[str]:
        return [point for point in mount_points() if point.startswith(f"{folder}/")]

    def _folder(self, pod: Object) -> Path:
        return self._settings.pod_dir(objects.uid(pod))


def _let_go(points: Path) -> None:
    """Remove mount points, and nothing that is in them: a mount that was given up may appear there just now.

    Raises OSError for what is mounted, or not empty.
    """
    for name in os.listdir(points) if points.exists() else ():
        (points / name).rmdir()


def _claim_read_only(pod: Object, name: str) -> bool:
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume["name"] == name:
            return bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
    return False
