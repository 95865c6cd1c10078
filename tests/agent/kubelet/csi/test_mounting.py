"""Volumes of a third-party driver: what it is asked, in which order, and what the pod gets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent.kubelet.csi import attachments, mounting
from edgek.agent.kubelet.volumes.pod_volumes import MountFailed
from edgek.csi import messages
from edgek.model import kinds
from tests.agent.kubelet.csi.scene import AROUND, DRIVER, PATIENCE_S, a_pod, here
from tests.fakes.csi_driver import ORDINARY


async def test_a_volume_is_staged_and_published_and_goes_the_same_way_back(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish(csi_fsType="ext4", mountOptions=["noatime"])
        assert await at.build(a_pod()) == at.target()
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume"]
        stage, publish = at.call("NodeStageVolume"), at.call("NodePublishVolume")
        folder = at.kubelet_dir / "plugins/kubernetes.io/csi" / DRIVER / hashlib.sha256(b"handle-of-pv").hexdigest()
        assert stage["staging_target_path"] == str(folder / "globalmount")
        assert stage["volume_capability"]["mount"] == {"fs_type": "ext4", "mount_flags": ["noatime"], "volume_mount_group": ""}
        assert stage["volume_capability"]["access_mode"] == {"mode": messages.SINGLE_NODE_MULTI_WRITER}
        assert (publish["staging_target_path"], publish["target_path"]) == (stage["staging_target_path"], str(at.target()))
        assert (publish["volume_id"], publish["volume_context"], publish["readonly"]) == ("handle-of-pv", {"a": "b"}, False)
        record = json.loads((at.target().parent / "vol_data.json").read_text())
        assert (record["driverName"], record["volumeHandle"], record["specVolID"]) == (DRIVER, "handle-of-pv", "pv")
        await at.volumes.take_down("u1")
        assert at.calls()[2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
        assert at.left() == []


async def test_what_is_there_is_not_asked_for_again_and_a_second_pod_shares_the_staging(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.build(a_pod())
        await at.build(a_pod())
        await at.build(a_pod("u2"))
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume", "NodePublishVolume"]
        await at.volumes.take_down("u1")
        assert at.calls()[3:] == ["NodeUnpublishVolume"]
        await at.volumes.take_down("u2")
        assert at.calls()[4:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
        assert at.left() == []


async def test_a_driver_without_staging_is_only_asked_to_publish(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive(abilities=frozenset())
        await at.describe()
        await at.furnish()
        await at.build(a_pod())
        await at.volumes.take_down("u1")
        assert at.calls() == ["NodePublishVolume", "NodeUnpublishVolume"]
        assert at.call("NodePublishVolume")["staging_target_path"] == ""
        assert at.call("NodePublishVolume")["volume_capability"]["access_mode"] == {"mode": messages.SINGLE_NODE_WRITER}
        assert at.left() == []


async def test_a_driver_hears_of_the_pod_and_gets_tokens_and_secrets_where_it_asks_for_them(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(podInfoOnMount=True, requiresRepublish=True, tokenRequests=[{"audience": "vault", "expirationSeconds": 900}])
        secret = {"metadata": {"name": "s"}, "data": {"key": "dmFsdWU="}}
        await at.client.create(kinds.SECRET, secret, "elsewhere")
        ref = {"name": "s", "namespace": "elsewhere"}
        await at.furnish(csi_nodeStageSecretRef=ref, csi_nodePublishSecretRef=ref)
        pod = a_pod(volume={"persistentVolumeClaim": {"claimName": "c", "readOnly": True}})
        await at.build(pod)
        assert at.call("NodeStageVolume")["secrets"] == {"key": "value"}
        publish = at.call("NodePublishVolume")
        context = publish["volume_context"]
        assert (publish["secrets"], publish["readonly"]) == ({"key": "value"}, True)
        assert json.loads(context.pop("csi.storage.k8s.io/serviceAccount.tokens"))["vault"]["token"] == "token for vault of web-u1"
        assert context == {
            "a": "b",
            "csi.storage.k8s.io/pod.name": "web-u1",
            "csi.storage.k8s.io/pod.namespace": "default",
            "csi.storage.k8s.io/pod.uid": "u1",
            "csi.storage.k8s.io/serviceAccount.name": "builder",
            "csi.storage.k8s.io/ephemeral": "false",
        }
        await at.build(pod)
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume", "NodePublishVolume"]  # it wants to be asked again


async def test_tokens_go_with_the_secrets_where_the_driver_says_so(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(serviceAccountTokenInSecrets=True, tokenRequests=[{"audience": "vault"}])
        await at.furnish()
        await at.build(a_pod())
        publish = at.call("NodePublishVolume")
        assert list(publish["secrets"]) == ["csi.storage.k8s.io/serviceAccount.tokens"]
        assert publish["volume_context"] == {"a": "b"}


async def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish(csi_nodeStageSecretRef={"name": "s", "namespace": "elsewhere"})
        with pytest.raises(MountFailed, match='secrets "s" not found'):
            await at.build(a_pod())


async def test_an_inline_volume_belongs_to_its_pod(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(volumeLifecycleModes=["Ephemeral"], podInfoOnMount=True)
        source = {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"size": "1"}}
        assert await at.build(a_pod(volume={"csi": source})) == at.target(name="v")
        publish = at.call("NodePublishVolume")
        assert publish["volume_id"] == "csi-" + hashlib.sha256(b"u1v").hexdigest()
        assert (publish["readonly"], publish["staging_target_path"]) == (True, "")
        assert publish["volume_context"]["csi.storage.k8s.io/ephemeral"] == "true"
        await at.volumes.take_down("u1")
        assert at.calls() == ["NodePublishVolume", "NodeUnpublishVolume"]
        assert at.left() == []


async def test_a_driver_is_not_given_volumes_of_a_sort_that_it_has_not(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        text = r'volume mode "Ephemeral" not supported by driver third\.example\.com \(only supports \["Persistent"\]\)'
        with pytest.raises(MountFailed, match=text):
            await at.build(a_pod(volume={"csi": {"driver": DRIVER}}))
        assert at.calls() == []


async def test_a_block_volume_is_a_device_that_the_pods_folder_leads_to(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish(volumeMode="Block")
        path = await at.build(a_pod())
        target = at.kubelet_dir / "plugins/kubernetes.io/csi/volumeDevices/publish/pv/u1"
        assert path == at.kubelet_dir / "pods/u1/volumeDevices/kubernetes.io~csi/pv"
        assert path.readlink() == target
        assert at.call("NodeStageVolume")["staging_target_path"] == str(at.kubelet_dir / "plugins/kubernetes.io/csi/volumeDevices/staging/pv")
        assert at.call("NodePublishVolume")["volume_capability"]["block"] == {}
        await at.build(a_pod("u2"))
        await at.volumes.take_down("u1")
        await at.volumes.take_down("u2")
        assert at.calls() == [
            "NodeStageVolume", "NodePublishVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume",
        ]  # fmt: skip
        assert [each for each in at.left() if "volumeDevices/" in each and not each.endswith(("staging", "publish"))] == []


async def test_what_the_driver_refuses_is_told_in_upstreams_words_and_leaves_nothing(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        (at.root / "refuse-NodeStageVolume").write_text("NOT_FOUND")
        text = r'MountVolume\.MountDevice failed for volume "pv" : rpc error: code = NotFound desc = NodeStageVolume is refused'
        with pytest.raises(MountFailed, match=text):
            await at.build(a_pod())
        await at.volumes.take_down("u1")
        assert at.calls() == ["NodeStageVolume", "NodeUnstageVolume"]
        assert at.left() == []


async def test_a_pod_waits_for_its_driver_and_is_woken_when_it_registers(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.describe()
        await at.furnish()
        with pytest.raises(MountFailed, match=r"driver name third\.example\.com not found in the list of registered CSI drivers"):
            await at.build(a_pod())
        at.woken.uids.clear()
        await at.drive()
        assert at.woken.uids == ["u1"]
        await at.build(a_pod())
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume"]


async def test_a_volume_whose_driver_is_gone_is_kept_until_it_is_back(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.describe()
        await at.furnish()
        async with trio.open_nursery() as nursery:
            at_first, at.nursery = at.nursery, nursery
            await at.drive()
            await at.build(a_pod())
            nursery.cancel_scope.cancel()
        at.nursery = at_first
        gone = trio.Event()
        at.storage.drivers.on_change(lambda name: gone.set())
        with trio.fail_after(PATIENCE_S):
            if at.storage.drivers.all():
                await gone.wait()
        with pytest.raises(OSError, match=r"TearDown failed for volume .pv. : .*not found in the list"):
            await at.volumes.take_down("u1")
        assert at.target().exists()
        at.woken.uids.clear()
        await at.drive()
        assert at.woken.uids == ["u1"]
        await at.volumes.take_down("u1")
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"]


async def test_data_that_a_driver_left_behind_is_not_removed(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.build(a_pod())
        (at.target() / "precious").write_text("bytes")
        with pytest.raises(OSError, match="rpc error: code = Internal"):
            await at.volumes.take_down("u1")  # the driver stumbles over it
        (at.root / "state").unlink()
        with pytest.raises(OSError, match="not empty"):
            await at.volumes.take_down("u1")
        assert (at.target() / "precious").read_text() == "bytes"


async def test_an_attached_volume_waits_for_its_attachment_and_brings_what_the_attacher_said(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(attachRequired=True)
        await at.furnish()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.build, a_pod())
            await at.in_use("pv")
            assert at.calls() == []  # in use before anything is done with it
            await at.attach(device="/dev/x")
        assert at.call("NodeStageVolume")["publish_context"] == {"device": "/dev/x"}
        assert at.call("NodePublishVolume")["publish_context"] == {"device": "/dev/x"}
        await at.volumes.take_down("u1")
        await at.in_use()
        assert at.left() == []


async def test_a_driver_that_gives_files_to_the_group_by_itself_is_told_the_group(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive(abilities=ORDINARY | {"mount-group"})
        await at.describe(fsGroupPolicy="File")
        await at.furnish()
        await at.build(a_pod(securityContext={"fsGroup": 4321}))
        assert at.call("NodePublishVolume")["volume_capability"]["mount"]["volume_mount_group"] == "4321"
        assert at.target().stat().st_gid != 4321


async def test_a_grown_volume_is_expanded_here_and_the_claim_says_so(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.build(a_pod())
        pending = [{"type": "FileSystemResizePending", "status": "True"}]
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": {"conditions": pending}}, "default", subresource="status")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.woken.wait, "u1")
            await trio.lowlevel.checkpoint()
            await at.client.patch(kinds.PERSISTENT_VOLUME, "pv", {"spec": {"capacity": {"storage": "2Gi"}}})
        await trio.testing.wait_all_tasks_blocked()
        await at.build(a_pod())
        assert at.calls()[2:] == ["NodeExpandVolume"]
        assert at.call("NodeExpandVolume")["capacity_range"]["required_bytes"] == 2 << 30
        status = at.api.one(kinds.PERSISTENT_VOLUME_CLAIM, "c")["status"]  # type: ignore[index]
        assert (status["capacity"], status.get("conditions") or []) == ({"storage": "2Gi"}, [])
        await at.build(a_pod())
        assert at.calls()[3:] == []


async def test_a_driver_says_what_its_volume_uses_and_one_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        driver = await at.drive()
        await at.describe()
        await at.furnish()
        pod = a_pod()
        await at.build(pod)
        said = await at.volumes.usage(pod)
        assert said["v"]["usage"][0] == {"unit": messages.BYTES, "total": 1000, "used": 400, "available": 600}
        (driver.root / "refuse-NodeGetVolumeStats").write_text("INTERNAL")
        assert await at.volumes.usage(pod) == {}


async def test_the_next_edgek_leaves_alone_what_is_there_also_without_the_driver(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.build(a_pod())
    async with here(tmp_path, api=at.api) as after:
        assert await after.build(a_pod()) == at.target()
        with pytest.raises(MountFailed, match="not found in the list"):
            await after.build(a_pod("u2"))
        await after.drive()
        await after.build(a_pod("u2"))
        assert after.calls() == ["NodeStageVolume", "NodePublishVolume", "NodePublishVolume"]
        await after.volumes.clear(lambda uid: False)
        assert after.calls()[3:] == ["NodeUnpublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"]
        assert after.left() == []


async def test_after_a_reboot_a_volume_is_staged_and_published_again(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.build(a_pod())
        at.storage.mounting.boot = "the next one"
        await at.build(a_pod())
        await at.build(a_pod())
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume"] * 2


async def test_a_pod_that_gave_up_waiting_for_its_attachment_says_why_and_is_woken_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "WAIT_MOST_S", 0.05)
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(attachRequired=True)
        await at.furnish()
        why = r"timed out waiting for external-attacher of third\.example\.com CSI driver to attach volume handle-of-pv"
        with pytest.raises(MountFailed, match=f'MountVolume.WaitForAttach failed for volume "pv" : {why}'):
            await at.build(a_pod())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.woken.wait, "u1")
            await at.in_use("pv")
            await at.attach()
        await at.build(a_pod())
        await at.volumes.take_down("u1")
        await at.in_use()


async def test_a_driver_that_never_answers_holds_up_only_its_own_volume(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(volumeLifecycleModes=["Persistent", "Ephemeral"], podInfoOnMount=True)
        await at.furnish()
        (at.root / "hang-NodeStageVolume").touch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.build, a_pod())
            await at.build(a_pod("u2", volume={"csi": {"driver": DRIVER}}))
            nursery.cancel_scope.cancel()  # the first pod is deleted while it waits
        (at.root / "hang-NodeStageVolume").unlink()
        await at.volumes.take_down("u1")
        await at.volumes.take_down("u2")
        assert "NodeUnstageVolume" in at.calls()
        assert at.left() == []


async def test_a_volume_for_one_pod_only_is_refused_to_another(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish(accessModes=["ReadWriteOncePod"])
        await at.build(a_pod())
        with pytest.raises(MountFailed, match="ReadWriteOncePod access mode and is already in use by another pod"):
            await at.build(a_pod("u2"))
        await at.volumes.take_down("u1")
        await at.build(a_pod("u2"))


@pytest.mark.parametrize(("abilities", "asked"), [(ORDINARY, ["NodeExpandVolume"]), (ORDINARY - {"expand"}, [])], ids=["by the driver", "by nobody"])
async def test_what_grew_while_no_pod_had_it_is_expanded_when_one_comes(tmp_path: Path, abilities: frozenset[str], asked: list[str]) -> None:
    async with here(tmp_path) as at:
        await at.drive(abilities=abilities)
        await at.describe()
        await at.furnish()
        await at.client.patch(kinds.PERSISTENT_VOLUME, "pv", {"spec": {"capacity": {"storage": "2Gi"}}})
        await at.build(a_pod())
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume", *asked]
        assert at.api.one(kinds.PERSISTENT_VOLUME_CLAIM, "c")["status"]["capacity"] == {"storage": "2Gi"}  # type: ignore[index]


async def test_a_volume_that_cannot_be_expanded_now_is_used_as_it_is_and_tried_again(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.client.patch(kinds.PERSISTENT_VOLUME, "pv", {"spec": {"capacity": {"storage": "2Gi"}}})
        (at.root / "refuse-NodeExpandVolume").write_text("INTERNAL")
        assert await at.volumes.build(a_pod(), AROUND) == mounting.AGAIN_S
        assert at.api.one(kinds.PERSISTENT_VOLUME_CLAIM, "c")["status"]["capacity"] == {"storage": "1Gi"}  # type: ignore[index]
        (at.root / "refuse-NodeExpandVolume").unlink()
        assert await at.volumes.build(a_pod(), AROUND) is None
        assert at.api.one(kinds.PERSISTENT_VOLUME_CLAIM, "c")["status"]["capacity"] == {"storage": "2Gi"}  # type: ignore[index]


async def test_a_volume_that_is_read_only_is_not_expanded(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe()
        await at.furnish()
        await at.client.patch(kinds.PERSISTENT_VOLUME, "pv", {"spec": {"capacity": {"storage": "2Gi"}}})
        await at.build(a_pod(volume={"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}))
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume"]


async def test_without_a_server_an_attached_volume_is_as_it_was_last_heard_of(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive()
        await at.describe(attachRequired=True)
        await at.furnish()
        await at.attach(device="/dev/x")
        await at.build(a_pod())
        at.storage.mounting.boot = "the next one"
        at.references.offline = True
        at.storage.mounting.attachments.node_changed({})  # the Node is not known yet
        await at.build(a_pod())
        assert at.calls() == ["NodeStageVolume", "NodePublishVolume"] * 2
        assert at.call("NodeStageVolume")["publish_context"] == {"device": "/dev/x"}
