"""A node's storage and a driver, connected by real sockets, in front of an API in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.agent.kubelet.copies import Copies
from edgek.agent.kubelet.csi.attachments import attachment_name
from edgek.agent.kubelet.csi.storage import Storage
from edgek.agent.kubelet.environment import Surroundings
from edgek.agent.kubelet.references import References
from edgek.agent.kubelet.volumes.pod_volumes import PodVolumes
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer
from edgek.client.transport import Request, Response
from edgek.host import wallclock
from edgek.host.mount import Mounter
from edgek.host.worker import InLine
from edgek.model import kinds
from edgek.model.objects import Object
from tests.agent.kubelet.scene import settings
from tests.fakes.api import FakeApi
from tests.fakes.csi_driver import Driver, calls
from tests.fakes.mounts import FakeMounter

AROUND = Surroundings(("192.0.2.1",), ("10.42.0.5",), (), {"cpu": "4"})
DRIVER = "third.example.com"
PATIENCE_S = 30.0


class Api(FakeApi):
    """Gives tokens."""

    async def request(self, request: Request) -> Response:
        import orjson

        if request.path.endswith("/token"):
            spec = orjson.loads(request.body)["spec"]
            until = wallclock.rfc3339(wallclock.now() + spec["expirationSeconds"])
            token = f"token for {spec['audiences'][0]} of {spec['boundObjectRef']['name']}"
            return Response(201, {}, orjson.dumps({"status": {"token": token, "expirationTimestamp": until}}))
        return await super().request(request)


@attrs.define
class Woken:
    """Pods that were told to look at their volumes again."""

    uids: list[str] = attrs.field(factory=list)
    _more: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, uid: str) -> None:
        self.uids.append(uid)
        self._more.set()

    async def wait(self, uid: str) -> None:
        """Until it is told from now on."""
        self.uids.clear()
        with trio.fail_after(PATIENCE_S):
            while uid not in self.uids:
                self._more = trio.Event()
                await self._more.wait()


@attrs.define
class Here:
    folder: Path
    api: Api
    client: Client
    storage: Storage
    volumes: PodVolumes
    references: References
    mounter: Mounter
    woken: Woken
    node: Informer[Object]
    nursery: trio.Nursery

    @property
    def kubelet_dir(self) -> Path:
        return settings(self.folder).kubelet_dir

    @property
    def root(self) -> Path:
        return self.folder / "driver"

    async def drive(self, **about: Any) -> Driver:
        """A driver that has registered."""
        driver = Driver(self.root, **about)
        self.nursery.start_soon(driver.serve, self.kubelet_dir)
        with trio.fail_after(PATIENCE_S):
            await driver.registered.wait()
        return driver

    def calls(self) -> list[str]:
        return [each["call"] for each in calls(self.root)]

    def call(self, word: str) -> dict[str, Any]:
        """The last of that name."""
        return [each for each in calls(self.root) if each["call"] == word][-1]

    async def describe(self, **spec: Any) -> None:
        """The CSIDriver."""
        await self.client.create(kinds.CSI_DRIVER, {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False, **spec}})

    async def furnish(self, name: str = "pv", *, size: str = "1Gi", **more: Any) -> Object:
        """A volume, and a claim ``c`` that is bound to it; ``more`` goes into the volume's spec, or with ``csi_`` before it into its source."""
        csi = {key.removeprefix("csi_"): value for key, value in more.items() if key.startswith("csi_")}
        rest = {key: value for key, value in more.items() if not key.startswith("csi_")}
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": DRIVER, "volumeHandle": f"handle-of-{name}", "volumeAttributes": {"a": "b"}, **csi},
            **rest,
        }
        await self.client.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": name}, "spec": spec})
        claim = {"metadata": {"name": "c"}, "spec": {"volumeName": name, "resources": {"requests": {"storage": size}}}}
        await self.client.create(kinds.PERSISTENT_VOLUME_CLAIM, claim, "default")
        status = {"phase": "Bound", "capacity": {"storage": size}}
        return await self.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": status}, "default", subresource="status")

    async def attach(self, name: str = "pv", **metadata: str) -> None:
        """As attach-detach controller and attacher do it."""
        handle = f"handle-of-{name}"
        meta = {"name": attachment_name(DRIVER, handle, "node-1")}
        spec = {"attacher": DRIVER, "nodeName": "node-1", "source": {"persistentVolumeName": name}}
        await self.client.create(kinds.VOLUME_ATTACHMENT, {"metadata": meta, "spec": spec})
        status = {"attached": True, "attachmentMetadata": metadata}
        await self.client.patch(kinds.VOLUME_ATTACHMENT, meta["name"], {"status": status}, subresource="status")
        shown = [{"name": f"kubernetes.io/csi/{DRIVER}^{handle}", "devicePath": ""}]
        await self.client.patch(kinds.NODE, "node-1", {"status": {"volumesAttached": shown}}, subresource="status")

    async def in_use(self, *names: str) -> None:
        """Until the Node says that exactly these volumes are."""
        wanted = [f"kubernetes.io/csi/{DRIVER}^handle-of-{name}" for name in names]
        with trio.fail_after(PATIENCE_S):
            await self.node.until(lambda: ((self.node.get("node-1") or {}).get("status") or {}).get("volumesInUse", []) == wanted)

    async def build(self, pod: Object) -> Path:
        """The path of the volume ``v``. Raises MountFailed."""
        with trio.fail_after(PATIENCE_S):
            await self.volumes.build(pod, AROUND)
        found = self.volumes.path_of(pod["metadata"]["uid"], "v")
        assert found is not None
        return found

    def target(self, uid: str = "u1", name: str = "pv") -> Path:
        return self.kubelet_dir / "pods" / uid / "volumes" / "kubernetes.io~csi" / name / "mount"

    def left(self) -> list[str]:
        """Everything that is on the disk for volumes and pods, but for empty folders that stay."""
        base = self.kubelet_dir
        kept = {"pods", "plugins", "plugins_registry", "plugins/kubernetes.io", "plugins/kubernetes.io/csi", f"plugins/kubernetes.io/csi/{DRIVER}"}
        found = [str(each.relative_to(base)) for each in base.rglob("*")]
        return sorted(each for each in found if each not in kept and not each.endswith(".sock") and each != f"plugins/{DRIVER}")


def a_pod(uid: str = "u1", *, volume: Any = None, **spec: Any) -> Object:
    """With the claim ``c`` as its volume ``v``."""
    meta = {"name": f"web-{uid}", "namespace": "default", "uid": uid}
    volume = {"name": "v", **(volume or {"persistentVolumeClaim": {"claimName": "c"}})}
    return {"metadata": meta, "spec": {"volumes": [volume], "serviceAccountName": "builder", "containers": [{"name": "main"}], **spec}}


@asynccontextmanager
async def here(folder: Path, *, api: Api | None = None, mounter: Mounter | None = None) -> AsyncIterator[Here]:
    """``api`` of a former one, for an edgek that starts again."""
    api, mounter, woken = api or Api(), mounter or FakeMounter(), Woken()
    client, told = Client(api), settings(folder)
    references = References(client, woken.tell, Copies(folder / "copies"))
    recorder = Recorder(client, "kubelet")
    storage = Storage(told.kubelet_dir, told.node_name, client, recorder, mounter, files=InLine(), wake=woken.tell)
    if api.one(kinds.NODE, told.node_name) is None:
        await client.create(kinds.NODE, {"metadata": {"name": told.node_name}})
    async with trio.open_nursery() as nursery:
        await nursery.start(references.run)
        await nursery.start(recorder.run)
        await nursery.start(storage.run)
        node: Informer[Object] = Informer(client, kinds.NODE, lambda found: found)
        node.add_handler(lambda key, old, new: storage.node_changed(new) if new else None)
        nursery.start_soon(node.run)
        volumes = PodVolumes(told, client, references, mounter, storage, InLine())
        yield Here(folder, api, client, storage, volumes, references, mounter, woken, node, nursery)
        nursery.cancel_scope.cancel()
