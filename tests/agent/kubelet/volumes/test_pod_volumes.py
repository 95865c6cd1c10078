"""Volumes of every type, built for a pod and taken down."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from edgek.agent.kubelet.copies import Copies
from edgek.agent.kubelet.csi.storage import Storage
from edgek.agent.kubelet.environment import Surroundings
from edgek.agent.kubelet.references import References
from edgek.agent.kubelet.volumes.pod_volumes import MountFailed, PodVolumes
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.transport import Request, Response
from edgek.host import wallclock
from edgek.host.worker import InLine
from edgek.model import kinds
from edgek.model.objects import Object
from tests.agent.kubelet.scene import EPOCH, settings
from tests.fakes.api import FakeApi
from tests.fakes.mounts import FakeMounter

AROUND = Surroundings(("192.0.2.1",), ("10.42.0.5",), (), {"cpu": "4"})


class Api(FakeApi):
    """Gives tokens."""

    tokens = 0

    async def request(self, request: Request) -> Response:
        import orjson

        if request.path.endswith("/token"):
            self.tokens += 1
            seconds = orjson.loads(request.body)["spec"]["expirationSeconds"]
            until = wallclock.rfc3339(wallclock.now() + seconds)
            return Response(201, {}, orjson.dumps({"status": {"token": f"token-{self.tokens}", "expirationTimestamp": until}}))
        return await super().request(request)


@attrs.define
class Here:
    api: Api
    client: Client
    volumes: PodVolumes
    mounter: FakeMounter
    changed: list[str]

    async def build(self, *volumes: Any, **spec: Any) -> float | None:
        return await self.volumes.build(a_pod(*volumes, **spec), AROUND)

    def path(self, name: str = "v") -> Path:
        found = self.volumes.path_of("u1", name)
        assert found is not None
        return found


def a_pod(*volumes: Any, **spec: Any) -> Object:
    meta = {"name": "web", "namespace": "default", "uid": "u1", "labels": {"app": "x"}}
    return {"metadata": meta, "spec": {"volumes": list(volumes), "containers": [{"name": "main"}], **spec}}


@asynccontextmanager
async def here(folder: Path) -> AsyncIterator[Here]:
    former = wallclock.use(lambda: EPOCH + trio.current_time())
    api, changed, mounter = Api(), list[str](), FakeMounter()
    client = Client(api)
    references = References(client, changed.append, Copies(folder / "copies"))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(references.run)
            told = settings(folder)
            storage = Storage(told.kubelet_dir, told.node_name, client, Recorder(client, "kubelet"), mounter, files=InLine())
            yield Here(api, client, PodVolumes(told, client, references, mounter, storage, InLine()), mounter, changed)
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)


async def test_a_config_map_is_files_and_follows_its_changes(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        await at.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}}, "default")
        items = [{"key": "a", "path": "deep/name", "mode": 0o600}]
        await at.build({"name": "v", "configMap": {"name": "cm"}}, {"name": "w", "configMap": {"name": "cm", "items": items}})
        assert (at.path() / "b").read_text() == "2"
        assert (at.path("w") / "deep/name").stat().st_mode & 0o777 == 0o600
        at.changed.clear()
        await at.client.patch(kinds.CONFIG_MAP, "cm", {"data": {"a": "9"}}, "default")
        await trio.sleep(1)
        assert at.changed == ["u1"]
        await at.build({"name": "v", "configMap": {"name": "cm"}})
        assert (at.path() / "a").read_text() == "9"


async def test_what_is_missing_fails_unless_it_is_optional(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        with pytest.raises(MountFailed, match=r'MountVolume\.SetUp failed for volume "v" : configmap "none" not found'):
            await at.build({"name": "v", "configMap": {"name": "none"}})
        await at.build({"name": "v", "configMap": {"name": "none", "optional": True}})
        assert [found.name for found in at.path().iterdir() if not found.name.startswith("..")] == []


async def test_secrets_are_only_in_memory(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        await at.client.create(kinds.SECRET, {"metadata": {"name": "s"}, "type": "Opaque", "data": {"p": base64.b64encode(b"x").decode()}}, "default")
        await at.build({"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400}})
        assert (at.path() / "p").read_bytes() == b"x"
        assert at.mounter.mounted[at.path()].startswith("tmpfs")


async def test_a_projected_volume_gathers_and_renews_its_token_in_time(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        await at.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "CA"}}, "default")
        namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
        sources = [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ]
        volume = {"name": "v", "projected": {"sources": sources}}
        again_s = await at.build(volume)
        assert again_s is not None
        assert 2880 <= again_s <= 2890
        assert {name: (at.path() / name).read_text() for name in ("token", "ca.crt", "namespace")} == {
            "token": "token-1",
            "ca.crt": "CA",
            "namespace": "default",
        }
        await at.build(volume)
        assert at.api.tokens == 1  # it is still young
        await trio.sleep(again_s)
        await at.build(volume)
        assert (at.path() / "token").read_text() == "token-2"


async def test_what_we_write_in_ourselves_no_container_may_write_in(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Else a container could lay a link there, and have us write, or delete, where it leads."""
    async with here(tmp_path) as at:
        await at.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "cm"}, "data": {"a": "1"}}, "default")
        await at.client.create(kinds.SECRET, {"metadata": {"name": "s"}, "type": "Opaque", "data": {}}, "default")
        volumes = [
            {"name": "config", "configMap": {"name": "cm"}},
            {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "fields", "downwardAPI": {"items": []}},
            {"name": "all", "projected": {"sources": [{"configMap": {"name": "cm"}}]}},
            {"name": "scratch", "emptyDir": {}},
        ]
        await at.build(*volumes)
        mounts = [{"name": each["name"], "mountPath": f"/{each['name']}"} for each in volumes]
        container = {"name": "main", "volumeMounts": [*mounts, {"name": "config", "mountPath": "/a", "subPath": "a"}]}
        found = await at.volumes.mounts(a_pod(*volumes), container, {})
        assert [each.container_path for each in found if not each.read_only] == ["/scratch"]


@pytest.mark.parametrize(
    ("spec", "mode", "owner", "group"),
    [
        ({}, 0o440, 0, 0),
        ({"securityContext": {"runAsUser": 1001}}, 0o600, 1001, 0),
        ({"securityContext": {"fsGroup": 1002}}, 0o640, 0, 1002),
        ({"securityContext": {"runAsUser": 1001, "fsGroup": 1002}}, 0o640, 1001, 1002),
    ],
    ids=["nobody in particular: as the volume says", "the user of all containers", "a group", "user and group"],
)
@pytest.mark.root
async def test_a_token_is_for_those_who_need_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, spec: Any, mode: int, owner: int, group: int
) -> None:
    async with here(tmp_path) as at:
        await at.build({"name": "v", "projected": {"defaultMode": 0o440, "sources": [{"serviceAccountToken": {"path": "token"}}]}}, **spec)
        found = (at.path() / "token").stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (mode, owner, group)


async def test_an_empty_dir_keeps_what_is_in_it(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        volumes = ({"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})
        await at.build(*volumes)
        (at.path() / "file").write_text("kept")
        await at.build(*volumes)
        assert (at.path() / "file").read_text() == "kept"
        assert [at.path(name).stat().st_mode & 0o7777 for name in ("v", "m")] == [0o777, 0o1777]
        assert at.mounter.mounted[at.path("m")] == "tmpfs size=1048576"
        await at.volumes.take_down("u1")
        assert not (settings(tmp_path).pod_dir("u1")).exists()


async def test_the_downward_api_shows_labels(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
        await at.build({"name": "v", "downwardAPI": {"items": items}})
        assert (at.path() / "labels").read_text() == 'app="x"'


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("Directory", "file", "is not a directory"),
        ("File", "folder", "is not a file"),
        ("Socket", "file", "is not a socket file"),
        ("Directory", "none", "hostPath type check failed: .*/none is not a directory"),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("FileOrCreate", "none/file", "cannot make .*/none/file: No such file or directory"),
    ],
)
async def test_a_host_path_is_checked(tmp_path: Path, autojump_clock: trio.testing.MockClock, kind: str, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    async with here(tmp_path) as at:
        with pytest.raises(MountFailed, match=message):
            await at.build({"name": "v", "hostPath": {"path": str(tmp_path / name), "type": kind}})


async def test_a_host_path_is_made_where_it_may_be_and_outlives_the_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        await at.build({"name": "v", "hostPath": {"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}})
        await at.volumes.take_down("u1")
        assert (tmp_path / "new").is_dir()


async def test_a_claim_waits_until_it_is_bound(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
        with pytest.raises(MountFailed, match='persistentvolumeclaim "c" not found'):
            await at.build(volume)
        claim = await at.client.create(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}}, "default")
        await trio.sleep(1)
        with pytest.raises(MountFailed, match="is not bound"):
            await at.build(volume)
        (tmp_path / "disk").mkdir()
        spec = {"local": {"path": str(tmp_path / "disk")}, "claimRef": {"uid": claim["metadata"]["uid"]}}
        await at.client.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": "pv"}, "spec": spec})
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": {"phase": "Bound"}}, "default", subresource="status")
        await trio.sleep(1)
        await at.build(volume)
        assert at.path() == tmp_path / "disk"


async def test_an_unknown_type_is_refused_by_name(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        with pytest.raises(MountFailed, match="volumes of type iscsi are not supported on this node"):
            await at.build({"name": "v", "iscsi": {"targetPortal": "a", "iqn": "b", "lun": 0}})


@pytest.mark.root
async def test_a_local_volume_is_given_to_the_pods_group_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / "file").touch(mode=0o600)
        spec = {"local": {"path": str(tmp_path / "disk")}}
        await at.client.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": "pv"}, "spec": spec})
        await at.client.create(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}}, "default")
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": {"phase": "Bound"}}, "default", subresource="status")
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
        await at.build(volume, securityContext={"fsGroup": 4321})
        found = (tmp_path / "disk" / "file").stat()
        assert (found.st_gid, found.st_mode & 0o777) == (4321, 0o660)
        (tmp_path / "disk" / "file").chmod(0o600)
        await at.build(volume, securityContext={"fsGroup": 4321})
        assert (tmp_path / "disk" / "file").stat().st_mode & 0o777 == 0o600
        await at.volumes.take_down("u1")
        assert (tmp_path / "disk" / "file").exists()


async def test_a_local_volume_that_is_a_file_is_refused(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with here(tmp_path) as at:
        (tmp_path / "file").touch()
        await at.client.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": "pv"}, "spec": {"local": {"path": str(tmp_path / "file")}}})
        await at.client.create(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}}, "default")
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": {"phase": "Bound"}}, "default", subresource="status")
        words = 'MountVolume.NewMounter initialization failed for volume "pv" : path ".*" is neither a directory nor a block device'
        with pytest.raises(MountFailed, match=words):
            await at.build({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})


async def test_a_local_volume_that_is_a_device_is_mounted_for_its_pod_and_let_go_with_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with here(tmp_path) as at:
        device = tmp_path / "disk"
        device.touch()
        monkeypatch.setattr(Path, "is_block_device", lambda path: path == device)
        local = {"path": str(device), "fsType": "xfs"}
        await at.client.create(kinds.PERSISTENT_VOLUME, {"metadata": {"name": "pv"}, "spec": {"local": local, "mountOptions": ["noatime"]}})
        await at.client.create(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}}, "default")
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": {"phase": "Bound"}}, "default", subresource="status")
        for _ in range(2):
            await at.build({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})
        point = tmp_path / "kubelet/pods/u1/volumes/kubernetes.io~local-volume/pv"
        assert at.volumes.path_of("u1", "v") == point
        assert at.mounter.mounted == {point: f"xfs {device} noatime"}
        (point / "data").touch()  # a mount that nobody sees in the table yet: what is in it is nobody's to remove
        with pytest.raises(OSError, match="not empty"):
            await at.volumes.take_down("u1")
        assert (point / "data").exists()
        (point / "data").unlink()
        await at.volumes.take_down("u1")
        assert not point.exists()
